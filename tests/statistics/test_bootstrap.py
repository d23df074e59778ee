"""The bootstrap against a plain loop, its determinism, and the small statistics beside it."""

import numpy as np
import pytest

from components.statistics import bootstrap
from components.statistics.bootstrap import clustered_bootstrap, holm, interval, p_below_zero, paired_bootstrap


def plain_bootstrap(values: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    return np.array([values[random.integers(0, len(values), len(values))].mean() for _ in range(resamples)])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["continuous", "few distinct values", "skewed and small"])
def test_same_distribution_as_a_plain_loop(kind: str) -> None:
    random = np.random.default_rng(1)
    values = {
        "continuous": random.normal(0.01, 0.3, 500),
        "few distinct values": random.choice([-1.0, 0.0, 0.1, 1.0], size=500, p=[0.05, 0.8, 0.05, 0.1]),
        "skewed and small": random.exponential(size=30),
    }[kind]
    count = len(values)
    ours = paired_bootstrap({"t": values}, 20_000).replicates[0]
    plain = plain_bootstrap(values, 20_000, 0)
    widened = values.mean() + (plain - values.mean()) * np.sqrt(count / (count - 1))
    scale = widened.std()
    assert ours.std() == pytest.approx(scale, rel=0.03)
    for level in (0.025, 0.25, 0.5, 0.75, 0.975):
        assert abs(np.quantile(ours, level) - np.quantile(widened, level)) < 0.06 * scale


def test_the_size_of_a_chunk_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).choice([0.0, 0.5, 1.0], size=400)
    at_once = paired_bootstrap({"t": values}, 500).replicates
    monkeypatch.setattr(bootstrap, "_CHUNK", 3 * 400)
    assert np.array_equal(at_once, paired_bootstrap({"t": values}, 500).replicates)
    monkeypatch.setattr(bootstrap, "_CHUNK", 1)
    assert np.array_equal(at_once, paired_bootstrap({"t": values}, 500).replicates)


def test_a_task_s_numbers_depend_on_nothing_but_its_name_and_the_seed() -> None:
    random = np.random.default_rng(0)
    tasks = {name: random.normal(size=50) for name in "abc"}
    together, alone = paired_bootstrap(tasks, 300, 5), paired_bootstrap({"b": tasks["b"]}, 300, 5)
    assert np.array_equal(together.replicates[1], alone.replicates[0])
    backwards = paired_bootstrap(dict(reversed(tasks.items())), 300, 5)
    assert np.array_equal(together.replicates, backwards.replicates)
    assert not np.array_equal(together.replicates, paired_bootstrap(tasks, 300, 6).replicates)


def test_one_example_and_equal_examples_have_no_spread() -> None:
    assert paired_bootstrap({"t": np.array([0.3])}, 5).replicates.tolist() == [[0.3] * 5]
    assert np.unique(paired_bootstrap({"t": np.full(7, 0.1)}, 5).replicates).tolist() == [np.full(7, 0.1).mean()]


def test_unchanged_examples_have_no_spread() -> None:
    resampled = paired_bootstrap({"t": np.zeros(20)}, 100)
    assert not resampled.replicates.any()
    assert p_below_zero(resampled.replicates).tolist() == [1.0]


@pytest.mark.slow
def test_interval_of_the_mean_covers_the_truth() -> None:
    covered = 0
    for seed in range(200):
        random = np.random.default_rng(seed)
        tasks = {str(task): random.normal(0.3, 1.0, 25) for task in range(8)}
        lower, upper = interval(paired_bootstrap(tasks, 400, seed).mean)
        covered += lower <= 0.3 <= upper
    assert 0.9 <= covered / 200 <= 0.985


def test_clusters_that_agree_leave_no_spread_and_clusters_that_differ_do() -> None:
    clusters = {"a": "x", "b": "x", "c": "y"}
    assert np.allclose(clustered_bootstrap({"a": 0.1, "b": 0.1, "c": 0.1}, clusters), 0.1)
    drawn = clustered_bootstrap({"a": 0.0, "b": 0.2, "c": 0.4}, clusters)
    # two clusters are drawn: x and x (mean of a and b), x and y (mean of all three), y and y
    assert set(np.unique(drawn.round(6))) == {0.1, 0.2, 0.4}


def test_holm_matches_its_definition() -> None:
    values = np.array([0.04, 0.001, 0.03, 0.5])
    assert holm(values).tolist() == pytest.approx([0.09, 0.004, 0.09, 0.5])
    assert holm(np.array([0.9, 0.8])).tolist() == [1.0, 1.0]
