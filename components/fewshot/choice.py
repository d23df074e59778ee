"""How many shots: the fewest that are within one standard error of the best (Breiman et al. 1984, section 3.4.3).

The same dev queries are scored at every number, so the standard error is that of the paired differences.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Tried:
    """One strategy at one number of shots; `scores` are float64 [dev queries]."""

    strategy: str
    shots: int
    scores: np.ndarray

    @property
    def mean(self) -> float:
        return float(self.scores.mean())

    @property
    def standard_error(self) -> float:
        """Of the mean."""
        return float(self.scores.std(ddof=1) / np.sqrt(len(self.scores)))


def choose(tried: list[Tried]) -> Tried:
    """The best strategy at the fewest shots whose paired distance to the best is at most its standard error."""
    best = max(tried, key=lambda one: (one.mean, -one.shots))
    close = [one for one in tried if _within(one.scores, best.scores)]
    fewest = min(one.shots for one in close)
    return max((one for one in close if one.shots == fewest), key=lambda one: one.mean)


def _within(scores: np.ndarray, best: np.ndarray) -> bool:
    distance = best - scores
    return bool(distance.mean() <= distance.std(ddof=1) / np.sqrt(len(distance)))


def curve(tried: list[Tried], strategy: str) -> Mapping[int, float]:
    """Mean dev score by number of shots along one strategy, 0 shots included."""
    return {one.shots: round(one.mean, 6) for one in tried if one.shots == 0 or one.strategy == strategy}
