"""Calibration: known curves are found again, and the map keeps the teacher's order."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from components.teacher.calibration import cross_fit_relevance, expected_calibration_error, fit_calibration
from components.teacher.curves import fit_curves
from tests.teacher.conftest import score_params


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


def test_a_cross_fitted_relevance_never_saw_its_querys_labels() -> None:
    raw, positive = sample(6.0, -2.0, 400)
    query = np.repeat(np.arange(100), 4)
    before = cross_fit_relevance("isotonic", raw, positive, query)
    flipped = np.where(query % 2 == 0, ~positive, positive)
    after = cross_fit_relevance("isotonic", raw, flipped, query)
    np.testing.assert_array_equal(before[query % 2 == 0], after[query % 2 == 0])
    assert not np.allclose(before[query % 2 == 1], after[query % 2 == 1])


def test_each_task_has_a_curve_of_its_own_where_dev_pairs_suffice(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    rows = []
    for number, (task, share, queries) in enumerate((("rich", 0.8, 60), ("poor", 0.1, 60), ("small", 0.5, 2))):
        for q in range(queries):
            for d in range(10):
                split = "dev" if q < queries // 2 or task == "small" else "train"
                rows.append((100 * number + q, d, task, split, random.normal(), random.random() < share))
    columns = ["query", "document", "task", "split", "reranker_score", "positive"]
    pairs = pl.DataFrame(rows, schema=columns, orient="row")
    dev = pairs.filter(pl.col("split") == "dev")
    fitted = {str(task): own for (task,), own in dev.group_by("task", maintain_order=True)}
    curves = fit_curves(fitted, "dev queries", score_params(), tmp_path)
    for task, share in (("rich", 0.8), ("poor", 0.1)):
        raw = pairs.filter(pl.col("task") == task)["reranker_score"].to_numpy()
        assert curves.by_task[task](raw).mean() == pytest.approx(share, abs=0.08)
    stated = json.loads((tmp_path / "calibration.json").read_text(encoding="utf-8"))
    assert {task: curve["of"] for task, curve in stated.items()} == {
        "poor": "poor",
        "rich": "rich",
        "small": "all tasks",
    }
    assert curves.error < 0.1
    assert "Too few pairs" in (tmp_path / "report.html").read_text(encoding="utf-8")
