"""Rejection rules for negatives; each rejection records its reason, the value compared, its scale and the threshold.

Margins and limits act on `value` (components/mining/scale.py). Cosines can be negative, and `0.95 * positive` is then
above the positive. The relative rule therefore subtracts a share of the positive's magnitude. A query with several
positives is judged by the weakest.
"""

import polars as pl

from components.config import MineParams
from components.config.mining import Scale

REASONS = {
    "same_label": "carries the query's label",
    "same_as_query": "is the query's own text",
    "duplicate_of_positive": "is a copy of a positive, or nearly",
    "rank_window": "ranks outside mine.first_rank to mine.last_rank",
    "relabelled": "judged relevant: trained as a positive",
    "false_negative": "scores within the margin of the weakest positive",
    "absolute_margin": "scores within mine.absolute_margin of the weakest positive",
    "max_score": "scores above mine.max_score",
    "too_easy": "scores below mine.min_score",
}
KNOWN_RELEVANT = ("same_label", "same_as_query", "duplicate_of_positive")


def relative_threshold(positive: pl.Expr, margin: pl.Expr) -> pl.Expr:
    """TopK-PercPos (NV-Retriever, arXiv 2407.15831): positive - (1 - margin) * |positive|.

    Equals margin * positive for positive scores, and is below the positive for negative scores too.

    >>> at = lambda score: round(pl.select(relative_threshold(pl.lit(score), pl.lit(0.95))).item(), 3)
    >>> at(0.8), at(-0.8)
    (0.76, -0.84)
    """
    return positive - (1 - margin) * positive.abs()


def share_of_positive(value: pl.Expr, positive: pl.Expr) -> pl.Expr:
    """The margin at which the relative rule just refuses this value: 1 + (value - positive) / |positive|."""
    return 1 + (value - positive) / positive.abs().clip(lower_bound=1e-9)


def apply_rules(
    candidates: pl.DataFrame, params: MineParams, scale: Scale, *, relative_rule: bool = True
) -> pl.DataFrame:
    """Add `reason` (null: usable as a negative), and what was compared: `compared`, `scale` and `threshold`.

    A usable candidate has the relative rule's three. relative_rule=False leaves that rule out, to try margins.

    Args:
        candidates: value, rank (fused, from 1), weakest (lowest value of the query's positives), margin (of the task),
            own (the source judges it irrelevant), same_label, same_as_query, duplicate (Jaccard with a positive; null
            when not near).
        scale: of value and weakest.
    """
    reason, compared = pl.lit(None, pl.String), pl.col("value")
    unit, threshold = pl.lit(scale), pl.lit(None, pl.Float64)
    if relative_rule:
        threshold = relative_threshold(pl.col("weakest"), pl.col("margin"))
    for name, rejected, of, value, bound in reversed(_rules(params, scale, relative_rule)):
        reason = pl.when(rejected).then(pl.lit(name)).otherwise(reason)
        compared = pl.when(rejected).then(value).otherwise(compared)
        unit = pl.when(rejected).then(pl.lit(of, pl.String)).otherwise(unit)
        threshold = pl.when(rejected).then(bound).otherwise(threshold)
    return candidates.with_columns(reason=reason, compared=compared, scale=unit, threshold=threshold)


def _rules(
    params: MineParams, scale: Scale, relative_rule: bool
) -> list[tuple[str, pl.Expr, str | None, pl.Expr, pl.Expr]]:
    """(reason, whether it rejects, scale, value compared, threshold) in their order; the first that rejects counts.

    Rank and score reject no negative of the source's own that is trusted.
    """
    value, none = pl.col("value"), pl.lit(None, pl.Float64)
    copy = pl.col("duplicate")
    rules: list[tuple[str, pl.Expr, str | None, pl.Expr, pl.Expr]] = [
        ("same_label", pl.col("same_label"), None, none, none),
        ("same_as_query", pl.col("same_as_query"), None, none, none),
        ("duplicate_of_positive", copy.is_not_null(), "overlap", copy, pl.lit(params.near_duplicate)),
    ]
    known = len(rules)
    rules.append(("rank_window", *_rank_window(params)))
    if relative_rule and params.false_negatives != "keep":
        relative = relative_threshold(pl.col("weakest"), pl.col("margin"))
        rules.append(("false_negative", value >= relative, scale, value, relative))
    if params.absolute_margin is not None:
        absolute = pl.col("weakest") - params.absolute_margin
        rules.append(("absolute_margin", value >= absolute, scale, value, absolute))
    if params.max_score is not None:
        rules.append(("max_score", value >= params.max_score, scale, value, pl.lit(params.max_score)))
    if params.min_score is not None:
        rules.append(("too_easy", value < params.min_score, scale, value, pl.lit(params.min_score)))
    if params.own_negatives == "trust":
        rules[known:] = [
            (name, rejected & ~pl.col("own"), of, compared, bound)
            for name, rejected, of, compared, bound in rules[known:]
        ]
    return rules


def _rank_window(params: MineParams) -> tuple[pl.Expr, str, pl.Expr, pl.Expr]:
    rank, last = pl.col("rank"), params.last_rank
    early = rank < params.first_rank
    late = rank > last if last is not None else pl.lit(False)
    bound = (
        pl.when(early).then(pl.lit(float(params.first_rank))).otherwise(pl.lit(None if last is None else float(last)))
    )
    return early | late, "rank", rank.cast(pl.Float64), bound.cast(pl.Float64)


def hardest(candidates: pl.DataFrame, number: int) -> pl.DataFrame:
    """The first `number` rows of each query that no rule rejected: the source's own negatives, then the highest-scored.

    Both hardest first; ties by document.
    """
    chosen = (
        candidates.select("query", "own", "score", "document", row=pl.int_range(pl.len()))
        .filter(candidates["reason"].is_null())
        .sort(["query", "own", "score", "document"], descending=[False, True, True, False])
        .group_by("query", maintain_order=True)
        .head(number)
    )
    return candidates[chosen["row"]]
