"""Summary table at the end of `make run`: base, trained and teacher per task, with 95 % bootstrap intervals.

The evaluate stage writes it as table.json; `foundry table` prints it.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from components.base.errors import UserError
from components.contracts.shots import EvaluatedPrompt, count_prompts

RESAMPLES = 10_000


def summary_table(folder: Path, seed: int, prompts: Mapping[str, EvaluatedPrompt]) -> dict[str, Any]:
    """Scores, intervals and the gain of `trained` over `base`, from an evaluation's Parquet tables.

    Returns:
        {"rows": [{task, category, metric, models: {name: {score, low, high}}}], "mean": {name: {...}}, "gain": {...},
        "prompts": {"counts": {...}, "tasks": {task: {served_by, shots, shots_from, instruction_seen_in_training}}}}
    """
    import polars as pl

    from components.statistics.bootstrap import interval, paired_bootstrap
    from components.statistics.paired import differences, read_evaluation

    scores = pl.read_parquet(folder / "scores.parquet")
    names = scores["model"].unique(maintain_order=True).to_list()
    models = {name: read_evaluation(folder, name) for name in names}
    samples = {name: paired_bootstrap(model.values, RESAMPLES, seed) for name, model in models.items()}

    def cell(score: float, replicates: Any) -> dict[str, float]:
        low, high = interval(replicates)
        return {"score": round(score, 6), "low": round(low, 6), "high": round(min(high, 1.0), 6)}

    rows = []
    for task, category, metric in scores.select("task", "category", "metric").unique(maintain_order=True).iter_rows():
        cells = {
            name: cell(model.scores[task], samples[name].replicates[samples[name].tasks.index(task)])
            for name, model in models.items()
        }
        rows.append({"task": task, "category": category, "metric": metric, "models": cells})
    rows.sort(key=lambda row: (str(row["category"]), str(row["task"])))
    mean = {name: cell(model.mean_task, samples[name].mean) for name, model in models.items()}
    table: dict[str, Any] = {"rows": rows, "mean": mean}
    if {"base", "trained"} <= set(names):
        gain = paired_bootstrap(differences(models["trained"], models["base"]), RESAMPLES, seed)
        table["gain"] = cell(float(np.mean(gain.observed)), gain.mean)
    table["prompts"] = {
        "counts": count_prompts(prompts),
        "tasks": {
            task: {
                "served_by": one.served_by,
                "shots": len(one.prompt.shots),
                "shots_from": one.shots_from,
                "instruction_seen_in_training": one.seen,
            }
            for task, one in prompts.items()
        },
    }
    return table


def print_table(folder: Path) -> None:
    """Print the table of the finished evaluation in `folder`, and the paths of the report and the MLflow UI.

    Raises:
        UserError: no evaluation has finished there.
    """
    from rich.console import Console
    from rich.table import Table

    path = folder / "table.json"
    if not path.is_file():
        raise UserError(f"{path}: missing; run the evaluate stage (make run)")
    table = json.loads(path.read_text(encoding="utf-8"))
    names = list(table["mean"])
    shown = Table(title="Held-out tasks, score x 100 [95 % interval over examples]")
    shown.add_column("task", no_wrap=True)
    shown.add_column("metric", no_wrap=True)
    for name in names:
        shown.add_column(name, justify="right", no_wrap=True)
    for row in table["rows"]:
        cells = [_cell(row["models"][name]) for name in names]
        shown.add_row(row["task"], row["metric"], *cells)
    shown.add_section()
    shown.add_row("mean", "", *(_cell(table["mean"][name]) for name in names))
    console = Console(width=None if sys.stdout.isatty() else 110)
    console.print(shown)
    if "gain" in table:
        console.print(f"trained - base, mean over tasks: {_cell(table['gain'])}", highlight=False)
    for row in table.get("outputs", ()):
        if "difference" in row:
            points = [f"{100 * row[key]:+.2f}" for key in ("difference", "low", "high", "worst_difference")]
            console.print(
                f"trained as {row['output']}, {row['bytes']:,} bytes a vector: {points[0]} points "
                f"\\[{points[1]}, {points[2]}]; worst {row['worst_task']} {points[3]}",
                highlight=False,
            )
    counts = table.get("prompts", {}).get("counts")
    if counts:
        console.print(
            f"shots: {counts['shots_from_selection']} tasks chosen by select_shots, {counts['shots_stated']} stated, "
            f"{counts['zero_shot']} without; instruction seen in training: {counts['instruction_seen_in_training']} of "
            f"{counts['tasks']}",
            highlight=False,
        )
    console.print(f"report:     {folder / 'report.html'}", highlight=False)
    console.print("MLflow UI:  make ui, then http://127.0.0.1:5000", highlight=False)


def _cell(value: dict[str, float]) -> str:
    low, high = 100 * value["low"], 100 * value["high"]
    return f"{100 * value['score']:.1f} [{low:.1f}, {high:.1f}]".replace("[", "\\[")
