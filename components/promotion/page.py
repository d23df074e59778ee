"""HTML page of a gate verdict."""

from pathlib import Path

from components.page.plots import Difference, difference_plot, difference_rows
from components.page.render import render_page
from components.promotion.gate import Verdict


def gate_page(verdict: Verdict) -> str:
    """Render the verdict as HTML."""
    interval = verdict.interval
    mean = Difference("mean(task)", verdict.mean_difference, interval["lower"], interval["upper"], bold=True)
    categories: dict[str, list[Difference]] = {}
    for task in verdict.per_task:
        note = "◂ regression" if task.regression else ""
        row = Difference(task.task, task.difference, task.lower, task.upper, note=note)
        categories.setdefault(task.category, []).append(row)
    return render_page(
        "components.promotion",
        "gate.html.jinja",
        title=f"Gate: {verdict.verdict}",
        verdict=verdict,
        level=f"{verdict.params.level:.0%}",
        resamples=f"{verdict.params.resamples:,}",
        largest=max(verdict.noise_floor.per_task.values()),
        chart=difference_plot(difference_rows(mean, categories), "differences by task"),
    )


def write_verdict(verdict: Verdict, folder: Path) -> None:
    """Write gate.json and the page gate.html."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "gate.json").write_text(verdict.to_json(), encoding="utf-8")
    (folder / "gate.html").write_text(gate_page(verdict), encoding="utf-8")
