"""Candidates of dev queries, and a judge."""

import numpy as np
import polars as pl

from components.config import MineParams

JUDGE = {"reranker": "llm", "model": "judge"}


def dev_rows(queries: int = 60) -> pl.DataFrame:
    """Candidates whose score is spread over 0 ... 1 of the positive."""
    random = np.random.default_rng(0)
    rows = [(q, d, score, d + 1) for q in range(queries) for d, score in enumerate(random.random(30))]
    frame = pl.DataFrame(rows, schema=["query", "document", "value", "rank"], orient="row")
    return frame.with_columns(
        score="value",
        weakest=pl.lit(1.0),
        own=pl.lit(False),
        same_label=pl.lit(False),
        same_as_query=pl.lit(False),
        duplicate=pl.lit(None, pl.Float64),
    )


DEV = dev_rows()


def params(**judge: object) -> MineParams:
    return MineParams.model_validate({"negatives": 5, "judge": {**JUDGE, **judge}})
