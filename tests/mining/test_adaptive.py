"""The adaptive margin: the largest that keeps the estimated rate under the bound, per task."""

import numpy as np
import polars as pl
import pytest

from components.config import MineParams
from components.mining.adaptive import fit_margins, margin_curves


def dev_rows(task: str, hidden_from: float, queries: int = 60) -> pl.DataFrame:
    """Candidates whose score is spread over 0..1 of the positive; from `hidden_from` on they are relevant."""
    random = np.random.default_rng(len(task))
    rows = []
    for q in range(queries):
        for d, score in enumerate(random.random(30)):
            relevance = 0.9 if score > hidden_from else 0.01
            rows.append((q, d, task, float(score), relevance, d + 1))
    frame = pl.DataFrame(rows, schema=["query", "document", "task", "score", "relevance", "rank"], orient="row")
    return frame.with_columns(
        weakest=pl.lit(1.0), same_label=pl.lit(False), same_as_query=pl.lit(False), duplicate=pl.lit(None, pl.Float64)
    )


DEV = pl.concat([dev_rows("strict", 0.6), dev_rows("loose", 0.95)])


def test_each_task_gets_the_margin_that_its_scores_bear() -> None:
    params = MineParams(false_negative_rate=0.05, negatives=5)
    curves = margin_curves(DEV, params)
    margins = fit_margins(curves, params)
    assert margins["strict"] == pytest.approx(0.6, abs=0.02)
    assert margins["loose"] == pytest.approx(0.95, abs=0.02)
    at = curves.join(pl.DataFrame({"task": list(margins), "margin": list(margins.values())}), on=["task", "margin"])
    assert len(at) == 2
    assert (at["false_negative_rate"] <= 0.05).all()


def test_the_rate_grows_with_the_margin() -> None:
    curve = margin_curves(DEV, MineParams(negatives=5)).filter(pl.col("task") == "strict")
    rates = curve["false_negative_rate"].to_numpy()
    assert (np.diff(rates) >= -1e-12).all()


def test_without_a_bound_the_stated_margin_stands() -> None:
    params = MineParams(margin=0.9)
    assert fit_margins(margin_curves(DEV, params), params) == {"strict": 0.9, "loose": 0.9}


def test_a_bound_that_cannot_be_met_takes_the_smallest_margin() -> None:
    params = MineParams(false_negative_rate=0.001)
    assert set(fit_margins(margin_curves(DEV, params), params).values()) == {0.5}
