"""Queries like those of training raise no alarm, others do; few of them prove nothing."""

import numpy as np
import pytest

from components.serving.drift import measure_agreement, measure_novelty, measure_overlap


def around(centre: int, number: int, seed: int) -> np.ndarray:
    """Unit vectors near one axis."""
    rows = 0.2 * np.random.default_rng(seed).standard_normal((number, 16))
    rows[:, centre] += 1
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_novel_queries_are_found_and_usual_ones_are_not() -> None:
    trained, dev = around(0, 400, 0), around(0, 200, 1)
    usual = measure_novelty(around(0, 200, 2), trained, dev)
    assert usual.share < 0.15
    assert not usual.significant(0.2)
    moved = measure_novelty(np.concatenate([around(0, 100, 3), around(5, 100, 4)]), trained, dev)
    assert moved.share > 0.45
    assert moved.significant(0.2)
    assert moved.centroid < usual.centroid
    assert not measure_novelty(around(5, 1, 5), trained, dev).significant(0.2), "one query proves nothing"


@pytest.mark.parametrize(("served", "dropped"), [(0.8, False), (0.55, True)])
def test_agreement(served: float, dropped: bool) -> None:
    rng = np.random.default_rng(0)
    found = measure_agreement(np.clip(rng.normal(served, 0.1, 100), 0, 1), np.clip(rng.normal(0.8, 0.1, 100), 0, 1))
    assert found.dropped(0.1) is dropped
    assert found.lower < found.served - found.dev < found.upper


def test_overlap_of_the_best() -> None:
    assert measure_overlap(np.array([[1, 2], [3, 4]]), np.array([[2, 1], [4, 5]])).tolist() == [1.0, 0.5]
