"""Scores of an evaluation as statistics read them, and the checks that make two evaluations comparable.

An evaluation folder holds `scores.parquet` (one score per model and task) and `examples.parquet` (what each example
contributes to that score). The contract between them is one line: **the mean over examples, replicates averaged
first, is the task's score**. Metrics that are no mean (Spearman, average precision, v-measure) keep it through
`components.statistics.jackknife`. A task without rows (too large to keep) counts as one example, its score: it
adds to a difference, but no spread.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from components.base.errors import UserError
from components.contracts.tables import Table, read_table

SCORES = Table(
    {"model": "str", "task": "str", "category": "str", "metric": "str", "score": "float"}, key=("model", "task")
)
EXAMPLES = Table(
    {"model": "str", "task": "str", "example_id": "str", "score": "float", "replicate": "int"},
    key=("model", "task", "example_id", "replicate"),
)
# mteb rounds some means to 5 digits; a larger gap means that the two tables are not of one evaluation.
MEAN_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Evaluation:
    """One model's scores. `values[task]` is aligned with `ids[task]`, which is sorted; everything is in 0..1."""

    name: str
    scores: dict[str, float]
    categories: dict[str, str]
    ids: dict[str, list[str]]
    values: dict[str, NDArray[np.float64]]

    @property
    def tasks(self) -> list[str]:
        """Task names, sorted."""
        return sorted(self.scores)

    @property
    def mean_task(self) -> float:
        """Mean of the task scores."""
        return float(np.mean([self.scores[task] for task in self.tasks]))

    @property
    def mean_type(self) -> float:
        """Mean over categories of the category means."""
        return float(np.mean(list(category_means(self.scores, self.categories).values())))


def category_means(scores: Mapping[str, float], categories: Mapping[str, str]) -> dict[str, float]:
    """Mean score of each category, in alphabetical order."""
    members: dict[str, list[float]] = {}
    for task in sorted(scores):
        members.setdefault(categories[task], []).append(scores[task])
    return {category: float(np.mean(members[category])) for category in sorted(members)}


def read_evaluation(folder: Path, model: str) -> Evaluation:
    """Read `model`'s rows of an evaluation folder.

    Raises:
        UserError: a table is missing or malformed (a NaN score included), the model has no rows, or the examples
            of a task do not average to its score.
    """
    where = folder / "examples.parquet"
    scores = _rows_of(read_table(folder / "scores.parquet", SCORES), model, folder / "scores.parquet")
    examples = _rows_of(read_table(where, EXAMPLES), model, where)
    named = dict(scores.select("task", "score").sort("task").iter_rows())
    categories = dict(scores.select("task", "category").sort("task").iter_rows())
    ids, values = {}, {}
    for task, score in named.items():
        ids[task], values[task] = _example_values(examples.filter(pl.col("task") == task), score)
        mean = float(values[task].mean())
        if abs(mean - score) > MEAN_TOLERANCE:
            raise UserError(
                f"{where}: task {task}: field score: the examples average {mean:.5f}, scores.parquet says {score:.5f};"
                " evaluate again"
            )
    return Evaluation(f"{model} of {folder.name}", named, categories, ids, values)


def check_comparable(candidate: Evaluation, champion: Evaluation) -> None:
    """Raises UserError unless both hold the same tasks and, task by task, the same examples."""
    extra = sorted(set(candidate.tasks) ^ set(champion.tasks))
    if extra:
        having = candidate if extra[0] in candidate.scores else champion
        raise UserError(
            f"task {extra[0]} is only in {having.name} ({len(extra)} tasks differ); evaluate both on one benchmark"
        )
    for task in candidate.tasks:
        ours, theirs = candidate.ids[task], champion.ids[task]
        if ours != theirs:
            odd = sorted(set(ours) ^ set(theirs))[0]
            raise UserError(
                f"task {task}: example {odd!r} is in one evaluation only ({len(ours)} against {len(theirs)} examples);"
                " evaluate both on the same data"
            )


def differences(candidate: Evaluation, champion: Evaluation) -> dict[str, NDArray[np.float64]]:
    """Candidate minus champion per example, by task. Raises UserError like `check_comparable`."""
    check_comparable(candidate, champion)
    return {task: candidate.values[task] - champion.values[task] for task in candidate.tasks}


def _rows_of(table: pl.DataFrame, model: str, where: Path) -> pl.DataFrame:
    rows = table.filter(pl.col("model") == model)
    if rows.is_empty():
        known = ", ".join(sorted(table["model"].unique().to_list())) or "none"
        raise UserError(f"{where}: field model: no rows of {model!r}; it holds {known}")
    return rows


def _example_values(rows: pl.DataFrame, score: float) -> tuple[list[str], NDArray[np.float64]]:
    """Ids and values with replicates averaged; one example with many replicates counts as that many examples."""
    if rows.is_empty():
        return ["the task's score"], np.array([score])
    if rows["example_id"].n_unique() == 1:
        rows = rows.with_columns(pl.col("replicate").cast(pl.String).str.zfill(6).alias("example_id"))
    means = rows.sort("example_id", "replicate").group_by("example_id", maintain_order=True).agg(pl.col("score").mean())
    return means["example_id"].to_list(), means["score"].to_numpy()
