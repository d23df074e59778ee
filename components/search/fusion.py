"""One ranking from several: reciprocal rank fusion, or weighted z-scores."""

from collections.abc import Mapping

import polars as pl

from components.search.exact import Hits


def hits_table(hits: Hits) -> pl.DataFrame:
    """One row per hit: query and document (positions), rank from 1, score."""
    queries, documents, ranks, scores = hits.pairs()
    return pl.DataFrame({"query": queries, "document": documents, "rank": ranks, "score": scores.astype("float64")})


def reciprocal_rank(rankings: Mapping[str, pl.DataFrame], weights: Mapping[str, float], k: int) -> pl.DataFrame:
    """query, document, fused = sum over the retrievers that found it of weight / (k + rank).

    Cormack, Clarke and Buettcher (SIGIR 2009), with k = 60 there.
    """
    parts = [
        ranking.select("query", "document", part=weights[name] / (k + pl.col("rank")))
        for name, ranking in rankings.items()
    ]
    return _summed(parts)


def z_scores(rankings: Mapping[str, pl.DataFrame], weights: Mapping[str, float]) -> pl.DataFrame:
    """query, document, fused = weighted sum of each retriever's score, standardised over the query's own hits.

    A document that a retriever did not find gets the lowest z-score of that retriever for the query. A retriever whose
    hits all have one score adds 0.
    """
    pairs = pl.concat([ranking.select("query", "document") for ranking in rankings.values()]).unique()
    parts = []
    for name, ranking in rankings.items():
        spread = pl.col("score").std(ddof=0).over("query")
        z = ((pl.col("score") - pl.col("score").mean().over("query")) / spread).fill_nan(0.0)
        scored = ranking.select("query", "document", z=pl.when(spread > 0).then(z).otherwise(0.0))
        lowest = scored.group_by("query").agg(lowest=pl.col("z").min())
        filled = pairs.join(scored, on=["query", "document"], how="left").join(lowest, on="query", how="left")
        parts.append(filled.select("query", "document", part=weights[name] * pl.coalesce("z", "lowest", pl.lit(0.0))))
    return _summed(parts)


def _summed(parts: list[pl.DataFrame]) -> pl.DataFrame:
    """Sorted first, so that the sum is made in one order and has the same bits every time."""
    marked = [part.with_columns(order=pl.lit(i)) for i, part in enumerate(parts)]
    together = pl.concat(marked).sort("query", "document", "order")
    return together.group_by("query", "document", maintain_order=True).agg(fused=pl.col("part").sum())
