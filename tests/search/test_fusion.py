"""Fusion: reciprocal ranks and z-scores by hand."""

import polars as pl
import pytest

from components.search.fusion import reciprocal_rank, z_scores


def ranking(*rows: tuple[int, int, float]) -> pl.DataFrame:
    frame = pl.DataFrame(rows, schema={"query": pl.Int64, "document": pl.Int64, "score": pl.Float64}, orient="row")
    return frame.with_columns(rank=pl.col("score").rank("ordinal", descending=True).over("query").cast(pl.Int64))


def fused(frame: pl.DataFrame) -> dict[tuple[int, int], float]:
    return {(query, document): value for query, document, value in frame.rows()}


BM25 = ranking((0, 5, 9.0), (0, 6, 3.0), (1, 5, 2.0))
DENSE = ranking((0, 6, 0.9), (0, 7, 0.5))


def test_reciprocal_rank() -> None:
    got = fused(reciprocal_rank({"bm25": BM25, "dense": DENSE}, {"bm25": 1.0, "dense": 2.0}, k=60))
    assert got == pytest.approx({(0, 5): 1 / 61, (0, 6): 1 / 62 + 2 / 61, (0, 7): 2 / 62, (1, 5): 1 / 61})


def test_z_scores_give_what_was_not_found_the_lowest() -> None:
    got = fused(z_scores({"bm25": BM25, "dense": DENSE}, {"bm25": 1.0, "dense": 0.5}))
    # two hits stand at +1 and -1; a single hit, or a retriever without hits, adds 0
    assert got == pytest.approx({(0, 5): 1 - 0.5, (0, 6): -1 + 0.5, (0, 7): -1 - 0.5, (1, 5): 0.0})
