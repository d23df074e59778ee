"""Suspicious positives: the teacher scores them below many other candidates of their query."""

import polars as pl

from components.mining.rules import KNOWN_RELEVANT


def suspicious_positives(candidates: pl.DataFrame, positives: pl.DataFrame, share: float) -> pl.DataFrame:
    """query, document, score, share_above: positives with more than `share` of the candidates above them.

    Known relevant candidates (same label, copies of a positive) do not count.
    """
    known = pl.col("reason").is_in(KNOWN_RELEVANT).fill_null(False)
    others = candidates.filter(~known).select("query", other="score")
    above = (
        positives.filter(pl.col("relevance") > 0)
        .select("query", "document", "score")
        .join(others, on="query")
        .group_by("query", "document", "score")
        .agg(share_above=(pl.col("other") > pl.col("score")).mean())
    )
    return above.filter(pl.col("share_above") > share).sort("query", "document")
