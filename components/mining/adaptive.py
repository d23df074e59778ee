"""Margin per task: the largest whose estimated false-negative rate is within a bound.

The estimate for a margin is the mean calibrated relevance of the negatives it would select (the hardest `negatives` of
each dev query that pass all rules). Calibration treats unlabelled positives as irrelevant, so the true rate is somewhat
higher; the estimate still grows with the margin and is comparable between tasks of one teacher.
"""

import numpy as np
import polars as pl

from components.config import MineParams
from components.mining.rules import apply_rules

GRID = [round(0.5 + 0.01 * step, 2) for step in range(51)]  # margins tried: 0.50 ... 1.00
CURVE = {"task": pl.String, "margin": pl.Float64, "false_negative_rate": pl.Float64, "negatives_per_query": pl.Float64}


def margin_curves(dev: pl.DataFrame, params: MineParams) -> pl.DataFrame:
    """task, margin, false_negative_rate (estimated, null without negatives), negatives_per_query, over GRID.

    Args:
        dev: the columns of `apply_rules`, and query, task, relevance; dev queries only.
    """
    rows = []
    for (task,), task_rows in dev.group_by("task", maintain_order=True):
        queries = task_rows["query"].n_unique()
        for margin in GRID:
            used = hardest(apply_rules(task_rows.with_columns(margin=pl.lit(margin)), params), params.negatives)
            rate = float(np.mean(used["relevance"].to_numpy())) if len(used) else None
            rows.append((str(task), margin, rate, len(used) / queries))
    return pl.DataFrame(rows, schema=CURVE, orient="row")


def fit_margins(curves: pl.DataFrame, params: MineParams) -> dict[str, float]:
    """Margin by task: fitted when mine.false_negative_rate is set, else mine.margin.

    If every margin of GRID is over the bound, the smallest is used.
    """
    margins = {}
    for (task,), curve in curves.group_by("task", maintain_order=True):
        margins[str(task)] = params.margin
        if params.false_negative_rate is not None:
            safe = curve.filter(pl.col("false_negative_rate").fill_null(0.0) <= params.false_negative_rate)
            margins[str(task)] = max(safe["margin"], default=GRID[0])
    return margins


def hardest(judged: pl.DataFrame, negatives: int) -> pl.DataFrame:
    """The `negatives` highest-scored rows of each query that no rule rejected, hardest first; ties by document."""
    chosen = (
        judged.select("query", "score", "document", row=pl.int_range(pl.len()))
        .filter(judged["reason"].is_null())
        .sort(["query", "score", "document"], descending=[False, True, False])
        .group_by("query", maintain_order=True)
        .head(negatives)
    )
    return judged[chosen["row"]]
