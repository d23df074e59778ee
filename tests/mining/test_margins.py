"""The adaptive margin: fitted to what the judge says, within its bound, and refused where the judge says nothing."""

import numpy as np
import polars as pl
import pytest

from components.config import MineParams
from components.mining.evidence import Evidence, _unfitted
from components.mining.margins import GRID, fit_margin, margin_curve
from tests.mining.dev_rows import DEV, params


def evidence(relevant_from: float, number: int = 300) -> Evidence:
    """A judge that finds all candidates from this share of the positive on relevant, and 1 % of the others."""
    random = np.random.default_rng(1)
    shares = random.random(number)
    relevant = (shares >= relevant_from) | (random.random(number) < 0.01)
    return Evidence(pl.DataFrame(), 0.0, None, _unfitted(shares, relevant), shares, relevant)


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
