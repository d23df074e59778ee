"""Rejection rules for negatives; each rejection records its reason and threshold.

Cosines and logits can be negative, and `0.95 * positive` is then above the positive. The relative rule therefore
subtracts a share of the positive's magnitude. A query with several positives is judged by the weakest.
"""

import polars as pl

from components.config import MineParams

REASONS = {
    "same_label": "carries the query's label",
    "same_as_query": "is the query's own text",
    "duplicate_of_positive": "is a copy of a positive, or nearly",
    "rank_window": "ranks outside mine.first_rank to mine.last_rank",
    "false_negative": "scores within the margin of the weakest positive",
    "absolute_margin": "scores within mine.absolute_margin of the weakest positive",
    "max_score": "scores above mine.max_score",
    "too_easy": "scores below mine.min_score",
}


def relative_threshold(positive: pl.Expr, margin: pl.Expr) -> pl.Expr:
    """TopK-PercPos (NV-Retriever, arXiv 2407.15831): positive - (1 - margin) * |positive|.

    Equals margin * positive for positive scores, and is below the positive for negative scores too.

    >>> at = lambda score: round(pl.select(relative_threshold(pl.lit(score), pl.lit(0.95))).item(), 3)
    >>> at(0.8), at(-0.8)
    (0.76, -0.84)
    """
    return positive - (1 - margin) * positive.abs()


def apply_rules(judged: pl.DataFrame, params: MineParams) -> pl.DataFrame:
    """Add `reason` (null: usable as a negative) and `threshold`, the value that the score was compared with.

    Args:
        judged: score, rank (fused, from 1), weakest (lowest positive score of the query), margin (of the task),
            same_label, same_as_query, duplicate (Jaccard with a positive; null when not near).
    """
    score = pl.col("score")
    relative = relative_threshold(pl.col("weakest"), pl.col("margin"))
    none = pl.lit(None, pl.Float64)
    rules: list[tuple[str, pl.Expr, pl.Expr]] = [
        ("same_label", pl.col("same_label"), none),
        ("same_as_query", pl.col("same_as_query"), none),
        ("duplicate_of_positive", pl.col("duplicate").is_not_null(), pl.lit(params.near_duplicate)),
        ("rank_window", *_rank_window(params)),
        ("false_negative", score >= relative, relative),
    ]
    if params.absolute_margin is not None:
        absolute = pl.col("weakest") - params.absolute_margin
        rules.append(("absolute_margin", score >= absolute, absolute))
    if params.max_score is not None:
        rules.append(("max_score", score >= params.max_score, pl.lit(params.max_score)))
    if params.min_score is not None:
        rules.append(("too_easy", score < params.min_score, pl.lit(params.min_score)))
    reason, threshold = pl.lit(None, pl.String), relative
    for name, rejected, bound in reversed(rules):
        reason = pl.when(rejected).then(pl.lit(name)).otherwise(reason)
        threshold = pl.when(rejected).then(bound).otherwise(threshold)
    return judged.with_columns(reason=reason, threshold=threshold)


def _rank_window(params: MineParams) -> tuple[pl.Expr, pl.Expr]:
    rank, last = pl.col("rank"), params.last_rank
    early = rank < params.first_rank
    late = rank > last if last is not None else pl.lit(False)
    bound = (
        pl.when(early).then(pl.lit(float(params.first_rank))).otherwise(pl.lit(None if last is None else float(last)))
    )
    return early | late, bound.cast(pl.Float64)
