"""Jackknife values: exact against leaving out one example at a time, and honest against the brute-force bootstrap."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import average_precision_score, v_measure_score

from components.base.errors import UserError
from components.statistics.jackknife import average_precision_values, spearman_values, v_measure_values

Pair = tuple[np.ndarray, np.ndarray]


def graded(random: np.random.Generator, count: int) -> Pair:
    latent = random.normal(size=count)
    return np.round(latent + 0.5 * random.normal(size=count), 1), np.round(2.5 + latent)  # ties on both sides


def labelled(random: np.random.Generator, count: int) -> Pair:
    labels = (random.random(count) < 0.3).astype(int)
    return np.round(labels + 0.7 * random.normal(size=count), 1), labels


def grouped(random: np.random.Generator, count: int) -> Pair:
    labels = random.integers(0, 5, count)
    return labels, np.where(random.random(count) < 0.7, labels, random.integers(0, 5, count))


METRICS: dict[str, tuple[Callable, Callable, Callable]] = {
    "spearman": (spearman_values, lambda a, b: spearmanr(a, b).statistic, graded),
    "average precision": (average_precision_values, lambda a, b: average_precision_score(b, a), labelled),
    "v-measure": (v_measure_values, v_measure_score, grouped),
}


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("seed", range(5))
def test_values_are_the_exact_jackknife_and_average_to_the_metric(name: str, seed: int) -> None:
    values_of, metric, make = METRICS[name]
    first, second = make(np.random.default_rng(seed), 40)
    whole = metric(first, second)
    without = np.array([metric(np.delete(first, i), np.delete(second, i)) for i in range(40)])
    values = values_of(first, second)
    np.testing.assert_allclose(values, whole + 39 * (without.mean() - without), atol=1e-9)
    assert values.mean() == pytest.approx(whole, abs=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("name", METRICS)
def test_resampled_means_spread_like_the_resampled_metric(name: str) -> None:
    values_of, metric, make = METRICS[name]
    random = np.random.default_rng(0)
    first, second = make(random, 400)
    picks = random.integers(0, 400, size=(1500, 400))
    brute = np.array([metric(first[pick], second[pick]) for pick in picks])
    fast = values_of(first, second)[picks].mean(axis=1)
    assert fast.std() == pytest.approx(brute.std(), rel=0.1)
    assert np.corrcoef(fast, brute)[0, 1] > 0.95  # the same resamples move both the same way


def test_spearman_does_not_depend_on_which_side_has_ties() -> None:
    predicted, gold = graded(np.random.default_rng(3), 60)
    np.testing.assert_allclose(spearman_values(predicted, gold), spearman_values(gold, predicted), atol=1e-12)


def test_one_label_or_one_cluster_is_no_division_by_zero() -> None:
    same, two = np.zeros(8, int), np.array([0, 1] * 4)
    assert v_measure_values(same, same).tolist() == [1.0] * 8
    assert v_measure_values(two, same).mean() == pytest.approx(0.0)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: spearman_values(np.ones(9), np.arange(9.0)), "same"),
        (lambda: spearman_values(np.array([1.0, np.nan, 2, 3]), np.arange(4.0)), "example 1"),
        (lambda: spearman_values(np.array([0.0, 0, 0, 1]), np.arange(4.0)), "constant"),
        (lambda: average_precision_values(np.arange(5.0), np.array([0, 0, 1, 0, 0])), "2 positives"),
        (lambda: average_precision_values(np.arange(5.0), np.array([0, 1, 1, 0])), "examples"),
        (lambda: v_measure_values(np.arange(3), np.arange(3)), "at least 4"),
    ],
)
def test_what_has_no_interval_is_refused(call: Callable, said: str) -> None:
    with pytest.raises(UserError, match=said):
        call()
