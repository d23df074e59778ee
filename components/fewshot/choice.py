"""Choose the number of shots by the one-standard-error rule (Breiman et al. 1984, section 3.4.3).

Every number of shots is scored on the same dev queries, so the standard error is that of the paired differences.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Tried:
    """Scores of one strategy at one number of shots: float64 [dev queries]."""

    strategy: str
    shots: int
    scores: np.ndarray

    @property
    def mean(self) -> float:
        return float(self.scores.mean())

    @property
    def standard_error(self) -> float:
        """Standard error of the mean."""
        return float(self.scores.std(ddof=1) / np.sqrt(len(self.scores)))


def choose(tried: list[Tried]) -> Tried:
    """The fewest shots whose mean paired difference to the best is within its standard error; ties by mean."""
    best = max(tried, key=lambda one: (one.mean, -one.shots))
    close = [one for one in tried if _within(one.scores, best.scores)]
    fewest = min(one.shots for one in close)
    return max((one for one in close if one.shots == fewest), key=lambda one: one.mean)


def _within(scores: np.ndarray, best: np.ndarray) -> bool:
    distance = best - scores
    return bool(distance.mean() <= distance.std(ddof=1) / np.sqrt(len(distance)))


def curve(tried: list[Tried], strategy: str) -> Mapping[int, float]:
    """Mean dev score by number of shots of one strategy, including 0 shots."""
    return {one.shots: round(one.mean, 6) for one in tried if one.shots == 0 or one.strategy == strategy}
