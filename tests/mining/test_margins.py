"""The adaptive margin: fitted to what the judge says, within its bound, and refused where the judge says nothing."""

import numpy as np
import polars as pl
import pytest

from components.config import MineParams
from components.mining.evidence import Evidence, _unfit, _unfitted
from components.mining.margins import GRID, fit_margin, margin_curve

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


def evidence(relevant_from: float, number: int = 300) -> Evidence:
    """A judge that finds all candidates from this share of the positive on relevant, and 1 % of the others."""
    random = np.random.default_rng(1)
    shares = random.random(number)
    relevant = (shares >= relevant_from) | (random.random(number) < 0.01)
    return Evidence(pl.DataFrame(), 0.0, None, _unfitted(shares, relevant), shares, relevant)


def params(**judge: object) -> MineParams:
    return MineParams.model_validate({"negatives": 5, "judge": {**JUDGE, **judge}})


@pytest.mark.parametrize("relevant_from", [0.6, 0.9])
def test_a_task_gets_the_margin_that_its_scores_bear(relevant_from: float) -> None:
    found = fit_margin("facts", DEV, evidence(relevant_from), params(), "raw")
    assert found.fitted
    assert found.margin == pytest.approx(relevant_from, abs=0.03)
    assert found.rate is not None
    assert found.rate <= 0.05
    assert found.told is None


def test_the_rate_grows_with_the_margin() -> None:
    rates = margin_curve(DEV, evidence(0.6), params(), "raw")["false_negative_rate"].to_numpy()
    assert (np.diff(rates) >= -1e-12).all()


def test_the_curve_counts_the_negatives_that_a_margin_leaves() -> None:
    curve = margin_curve(DEV, None, MineParams(negatives=100), "raw")
    below = DEV.filter(pl.col("value") < 0.7)
    found = curve.filter(pl.col("margin") == 0.7)["negatives_per_query"].item()
    assert found == pytest.approx(len(below) / 60)
    assert curve["false_negative_rate"].null_count() == len(GRID)


def test_without_a_judge_the_stated_margin_stands() -> None:
    assert fit_margin("facts", DEV, None, MineParams(margin=0.9), "raw").margin == 0.9
    still = fit_margin("facts", DEV, evidence(0.6), params(false_negative_rate=None), "raw")
    assert (still.margin, still.fitted) == (0.95, False)


def test_a_margin_at_either_end_of_the_grid_is_told() -> None:
    found = fit_margin("facts", DEV, evidence(0.3), params(false_negative_rate=0.001), "raw")
    assert found.margin == 0.5
    assert found.told is not None
    assert "fitted margin 0.5, the smallest tried" in found.told
    found = fit_margin("facts", DEV, evidence(0.9), params(false_negative_rate=1.0), "raw")
    assert found.told is not None
    assert "fitted margin 1: all that scores below the positive is kept" in found.told


def test_flat_and_inverted_calibrations_are_named_and_not_fitted() -> None:
    random = np.random.default_rng(2)
    shares = random.random(300)
    flat = _unfitted(shares, random.random(300) < 0.2)
    inverted = _unfitted(shares, shares < 0.3)
    few = _unfitted(shares, shares > np.sort(shares)[-3])
    assert flat is not None
    assert "calibration is flat" in flat
    assert inverted is not None
    assert "calibration is inverted" in inverted
    assert "in 0 % of cases" in inverted
    assert few == "its calibration is flat: it finds 2 of 300 candidates relevant"
    given = Evidence(pl.DataFrame(), 0.0, None, flat, shares, shares > 0.5)
    found = fit_margin("facts", DEV, given, params(), "raw")
    assert (found.margin, found.fitted) == (0.95, False)
    assert found.told == f"facts: no margin fitted, mine.margin 0.95 stays: {flat}"


def test_a_judge_that_cannot_tell_positives_from_random_documents_does_not_count() -> None:
    assert _unfit(np.full(50, True), np.full(50, False)) is None
    reason = _unfit(np.arange(50) < 30, np.arange(50) < 20)
    assert reason is not None
    assert "60 % of 50 labelled positives relevant, and 40 % of 50 random documents" in reason
