"""Calibration: known curves are found again, and the map keeps the teacher's order."""

import numpy as np
import pytest

from components.teacher.calibration import expected_calibration_error, fit_calibration


def sample(slope: float, offset: float, n: int = 20000) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    raw = random.normal(0.3, 0.4, n)
    return raw, random.random(n) < 1 / (1 + np.exp(-(slope * raw + offset)))


def test_platt_finds_the_curve() -> None:
    curve = fit_calibration("platt", *sample(6.0, -2.0))
    assert (curve.slope, curve.offset) == pytest.approx((6.0, -2.0), rel=0.06)


def test_temperature_finds_the_curve() -> None:
    curve = fit_calibration("temperature", *sample(5.0, 0.0))
    assert curve.slope == pytest.approx(5.0, rel=0.06)
    assert curve.offset == 0.0


@pytest.mark.parametrize("kind", ["temperature", "platt", "isotonic"])
def test_the_map_is_monotone_within_0_and_1(kind: str) -> None:
    raw, positive = sample(6.0, -2.0, 500)
    curve = fit_calibration(kind, raw, positive)  # type: ignore[arg-type]  # parametrised Literal
    values = curve(np.linspace(-5, 5, 101))
    assert (np.diff(values) >= 0).all()
    assert values.min() >= 0
    assert values.max() <= 1


def test_platt_and_isotonic_lower_the_calibration_error() -> None:
    raw, positive = sample(6.0, -2.0)
    before = expected_calibration_error(1 / (1 + np.exp(-raw)), positive)
    for kind in ("platt", "isotonic"):
        after = expected_calibration_error(fit_calibration(kind, raw, positive)(raw), positive)
        assert after < 0.02 < before


def test_a_reversed_teacher_is_not_turned_round() -> None:
    raw, positive = sample(-6.0, 2.0)
    assert fit_calibration("platt", raw, positive).slope == 0.0


def test_separable_and_one_sided_labels_stay_finite() -> None:
    raw = np.array([0.0, 1.0, 2.0, 3.0])
    assert np.isfinite(fit_calibration("platt", raw, raw > 1)(raw)).all()
    assert np.isfinite(fit_calibration("platt", raw, raw > 9)(raw)).all()
