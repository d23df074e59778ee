"""Paired bootstrap of examples within fixed tasks, and of tasks.

The question of a gate is about these tasks and more examples like theirs, so tasks stay and examples are drawn with
replacement, the same indices for both models (Koehn 2004; Dror et al. 2018): only their differences matter.

A bootstrap of n values is too narrow by sqrt((n - 1) / n) (Hesterberg 2015, section 4.1), which matters for the ten
draws of a clustering task; the deviations are widened by the inverse.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.95  # of intervals
RESAMPLES = 10_000  # of a comparison of two evaluations
_CHUNK = 1 << 18  # indices held at a time: 2 MB, which stays in the cache (1 << 20 takes twice as long)


@dataclass(frozen=True)
class Resamples:
    """Differences of task means under resampling.

    observed: float64 [tasks]; replicates: float64 [tasks, resamples]; examples: int64 [tasks]; all in `tasks`' order.
    """

    tasks: tuple[str, ...]
    observed: NDArray[np.float64]
    replicates: NDArray[np.float64]
    examples: NDArray[np.int64]

    @property
    def mean(self) -> NDArray[np.float64]:
        """Mean(task) difference of each resample, float64 [resamples]."""
        return np.asarray(self.replicates.mean(axis=0), np.float64)


def paired_bootstrap(
    differences: Mapping[str, NDArray[np.float64]], resamples: int = 10_000, seed: int = 0
) -> Resamples:
    """Resample the per-example differences (candidate minus champion) of every task.

    Each task has its own generator, seeded by `seed` and its name: the numbers depend neither on the order of the
    tasks nor on which other tasks are there.
    """
    tasks = tuple(sorted(differences))
    replicates = np.stack([_resampled_means(differences[task], resamples, _generator(seed, task)) for task in tasks])
    observed = np.array([differences[task].mean() for task in tasks])
    examples = np.array([len(differences[task]) for task in tasks])
    return Resamples(tasks, observed, replicates, examples)


def clustered_bootstrap(
    differences: Mapping[str, float], clusters: Mapping[str, str], resamples: int = 10_000, seed: int = 0
) -> NDArray[np.float64]:
    """Mean(task) difference when whole clusters of tasks (their type, say) are drawn with replacement: [resamples].

    "Would it hold on other tasks?": the view for generalisation, wide by nature.
    """
    names = sorted(set(clusters[task] for task in differences))
    sums = np.array(
        [sum(differences[task] for task in sorted(differences) if clusters[task] == name) for name in names]
    )
    sizes = np.array([sum(clusters[task] == name for task in differences) for name in names])
    drawn = _generator(seed, "clusters").multinomial(len(names), np.full(len(names), 1 / len(names)), size=resamples)
    return np.asarray(drawn @ sums / (drawn @ sizes), np.float64)


def interval(replicates: NDArray[np.float64], level: float = LEVEL) -> tuple[float, float]:
    """Two-sided percentile interval."""
    tail = (1 - level) / 2
    lower, upper = np.quantile(replicates, [tail, 1 - tail])
    return float(lower), float(upper)


def p_below_zero(replicates: NDArray[np.float64]) -> NDArray[np.float64]:
    """One-sided p-value of "the difference is below zero": the share of resamples at or above it, counted + 1.

    Args:
        replicates: float64 [..., resamples].
    """
    resamples = replicates.shape[-1]
    return np.asarray(((replicates >= 0).sum(axis=-1) + 1) / (resamples + 1), np.float64)


def holm(p_values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Holm's (1979) step-down adjusted p-values, in the order given.

    >>> holm(np.array([0.01, 0.04, 0.03])).round(3).tolist()
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p_values, kind="stable")
    stepped = np.maximum.accumulate(p_values[order] * np.arange(len(p_values), 0, -1))
    adjusted = np.empty_like(p_values)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def _resampled_means(values: NDArray[np.float64], resamples: int, random: np.random.Generator) -> NDArray[np.float64]:
    """Means of `resamples` draws of len(values) from `values`, deviations corrected for narrowness; [resamples]."""
    mean, count = values.mean(), len(values)
    if np.ptp(values) == 0:
        return np.full(resamples, mean)
    means, rows = np.empty(resamples), max(1, _CHUNK // count)
    for start in range(0, resamples, rows):
        part = means[start : start + rows]
        part[:] = values[random.integers(0, count, size=(len(part), count))].mean(axis=1)
    return np.asarray(mean + (means - mean) * np.sqrt(count / (count - 1)), np.float64)


def _generator(seed: int, name: str) -> np.random.Generator:
    digest = hashlib.sha256(f"{seed} {name}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "little"))
