"""Borda ranks by mteb's formula (Colombo et al. 2022, "What are the best systems?"; mteb `_borda_rank_from_long`).

On each task a model earns `models - rank` points, ties sharing their average rank; a task a model has no score on
gives it nothing. The ranks of the summed points, ties sharing the best one, are the Borda ranks. `models` counts
every model with a score on any task, so a rank always refers to one table of models.
"""

import polars as pl


def borda_ranks(scores: pl.DataFrame) -> dict[str, int]:
    """Rank of each model, 1 = best.

    Args:
        scores: one row per model and task: columns model, task, score (any scale, higher is better).

    >>> columns = ["model", "task", "score"]
    >>> rows = [("a", "t", 0.5), ("b", "t", 0.4), ("a", "u", 0.2), ("b", "u", 0.2), ("c", "u", 0.1)]
    >>> borda_ranks(pl.DataFrame(rows, schema=columns, orient="row"))
    {'a': 1, 'b': 2, 'c': 3}
    """
    models = scores["model"].n_unique()
    points = pl.lit(models) - pl.col("score").rank(method="average", descending=True).over("task")
    total = scores.with_columns(points.alias("points")).group_by("model").agg(pl.col("points").sum())
    ranked = total.with_columns(pl.col("points").rank(method="min", descending=True).cast(pl.Int64).alias("rank"))
    return dict(ranked.sort("rank", "model").select("model", "rank").iter_rows())
