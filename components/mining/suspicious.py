"""Suspicious positives: the teacher scores them below many other candidates of their query."""

import polars as pl


def suspicious_positives(judged: pl.DataFrame, positives: pl.DataFrame, share: float) -> pl.DataFrame:
    """query, document, score, share_above: positives with more than `share` of the candidates above them.

    Known relevant candidates (same label, copies of a positive) do not count. Sorted by share_above, highest first.
    """
    known = pl.col("reason").is_in(["same_label", "same_as_query", "duplicate_of_positive"]).fill_null(False)
    others = judged.filter(~known).select("query", other="score")
    above = (
        positives.join(others, on="query")
        .group_by("query", "document", "score")
        .agg(share_above=(pl.col("other") > pl.col("score")).mean())
    )
    return above.filter(pl.col("share_above") > share).sort(
        ["share_above", "query", "document"], descending=[True, False, False]
    )
