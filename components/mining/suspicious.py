"""Suspicious positives: the teacher scores them below many other candidates of their query."""

import polars as pl


def suspicious_positives(judged: pl.DataFrame, positives: pl.DataFrame, share: float) -> pl.DataFrame:
    """query_id, doc_id, score, share_above: positives with more than `share` of the candidates above them.

    Known relevant candidates (same label, copies of a positive) do not count. Sorted by share_above, highest first.
    """
    known = pl.col("reason").is_in(["same_label", "same_as_query", "duplicate_of_positive"]).fill_null(False)
    others = judged.filter(~known).select("query_id", other="score")
    above = (
        positives.join(others, on="query_id")
        .group_by("query_id", "doc_id", "score")
        .agg(share_above=(pl.col("other") > pl.col("score")).mean())
    )
    return above.filter(pl.col("share_above") > share).sort(
        ["share_above", "query_id", "doc_id"], descending=[True, False, False]
    )
