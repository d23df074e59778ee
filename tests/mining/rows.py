"""Rules on rows of few fields."""

import polars as pl

from components.config import MineParams
from components.mining.rules import apply_rules


def judge(rows: list[dict[str, object]], **params: object) -> list[tuple[str | None, float | None]]:
    rows = [{"value": row.get("score"), **row} for row in rows]
    plain = {
        "own": False,
        "rank": 5,
        "weakest": 0.8,
        "margin": 0.95,
        "same_label": False,
        "same_as_query": False,
        "duplicate": None,
    }
    frame = pl.DataFrame([{**plain, **row} for row in rows], schema_overrides={"duplicate": pl.Float64})
    judged = apply_rules(frame, MineParams.model_validate(params), "raw")
    return list(judged.select("reason", "threshold").iter_rows())


def reasons(rows: list[dict[str, object]], **params: object) -> list[str | None]:
    return [reason for reason, _ in judge(rows, **params)]
