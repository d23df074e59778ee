"""HTML page of a gate verdict."""

from pathlib import Path

from components.evaluation.report import mean_row, page_environment, split_words
from components.page.charts import Difference, difference_plot
from components.promotion.gate import Verdict


def gate_page(verdict: Verdict) -> str:
    """Render the verdict as HTML."""
    rows = [mean_row(verdict.mean_difference, verdict.interval["lower"], verdict.interval["upper"])]
    for category in sorted({task.category for task in verdict.per_task}):
        members = [task for task in verdict.per_task if task.category == category]
        rows.append(Difference(split_words(category), heading=True))
        for task in sorted(members, key=lambda one: (-one.difference, one.task)):
            note = "◂ regression" if task.regression else ""
            rows.append(Difference(task.task, task.difference, task.lower, task.upper, note=note))
    return (
        page_environment()
        .get_template("gate.html.j2")
        .render(
            title=f"Gate: {verdict.verdict}",
            verdict=verdict,
            level=f"{verdict.params.level:.0%}",
            resamples=f"{verdict.params.resamples:,}",
            largest=max(verdict.noise_floor.per_task.values()),
            chart=difference_plot(rows, "differences by task"),
        )
    )


def write_verdict(verdict: Verdict, folder: Path) -> None:
    """Write gate.json and the page gate.html."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "gate.json").write_text(verdict.to_json(), encoding="utf-8")
    (folder / "gate.html").write_text(gate_page(verdict), encoding="utf-8")
