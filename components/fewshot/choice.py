"""Choose a prompt: shots are taken only where they are better than none by more than the luck of having tried many.

All prompts of a task are scored on the same dev examples, so each has a difference to the zero-shot prompt on every
example. Without an effect the sign of an example's differences is arbitrary: it is flipped for all prompts together (so
the prompts' correlation is kept), FLIPS times, and each time the largest statistic of all prompts is noted (max-T:
Westfall & Young 1993). A prompt's p-value is the share of flips whose largest statistic reaches the prompt's own. If
shots do nothing, some prompt falls below LEVEL in at most 5 % of the tasks, however many prompts were tried;
`python -m benchmarks.shot_choice` simulates that, and the power at true gains.

Among the prompts with a p-value of at most LEVEL, the fewest shots within one standard error of the best are taken.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

LEVEL = 0.04  # the promise is 5 %; a level of 5 % took useless shots in up to 5.3 % of 2,000 simulated tasks
FLIPS = 4_999
_TIE = 1e-12  # statistics closer than this are equal: sums of the same numbers in another order


@dataclass(frozen=True)
class Tried:
    """Values of one strategy at one number of shots: float64 [dev examples]."""

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


@dataclass(frozen=True)
class Choice:
    """The prompt taken, and the p-value of each prompt tried (1 for the zero-shot one)."""

    taken: Tried
    p_values: list[float]

    @property
    def p_value(self) -> float:
        """The smallest."""
        return min(self.p_values)


def choose(tried: Sequence[Tried], seed: int) -> Choice:
    """The prompt to use; `tried[0]` is the zero-shot one."""
    zero, others = tried[0], tried[1:]
    if not others:
        return Choice(zero, [1.0])
    p_values = adjusted_p_values(np.array([one.scores - zero.scores for one in others]), seed)
    better = [one for one, p in zip(others, p_values, strict=True) if p <= LEVEL]
    return Choice(fewest_shots(better) if better else zero, [1.0, *p_values.tolist()])


def adjusted_p_values(differences: np.ndarray, seed: int) -> np.ndarray:
    """One-sided p-value of each prompt for a mean above 0, adjusted for all prompts: float64 [prompts].

    Args:
        differences: float64 [prompts, dev examples].
    """
    # The sum over its root sum of squares grows with Student's t, and flips leave the sum of squares as it is.
    scale = np.sqrt((differences**2).sum(axis=1, keepdims=True))
    scaled = np.divide(differences, scale, out=np.zeros_like(differences), where=scale > 0)
    flips = np.random.default_rng(seed).choice([-1.0, 1.0], size=(differences.shape[1], FLIPS))
    largest = (scaled @ flips).max(axis=0)  # [flips]
    reached = largest[None, :] >= scaled.sum(axis=1)[:, None] - _TIE
    return np.asarray((1 + reached.sum(axis=1)) / (1 + FLIPS), np.float64)


def fewest_shots(better: Sequence[Tried]) -> Tried:
    """The fewest shots whose mean paired difference to the best is within its standard error; ties by mean."""
    best = max(better, key=lambda one: (one.mean, -one.shots))
    close = [one for one in better if _within(one.scores, best.scores)]
    fewest = min(one.shots for one in close)
    return max((one for one in close if one.shots == fewest), key=lambda one: one.mean)


def _within(scores: np.ndarray, best: np.ndarray) -> bool:
    distance = best - scores
    return bool(distance.mean() <= distance.std(ddof=1) / np.sqrt(len(distance)))


def curve(tried: Sequence[Tried], strategy: str) -> Mapping[int, float]:
    """Mean dev score by number of shots of one strategy, including 0 shots."""
    return {one.shots: round(one.mean, 6) for one in tried if one.shots == 0 or one.strategy == strategy}
