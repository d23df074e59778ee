"""When a judge's answers are not used, and when no margin is fitted to them."""

import numpy as np
import polars as pl

from components.mining.evidence import Evidence, _unfit, _unfitted
from components.mining.margins import fit_margin
from tests.mining.dev_rows import DEV, params


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
