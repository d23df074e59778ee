"""Signs in the first steps that nothing is learned: a loss of 0, or vectors that do not tell texts apart.

An untrained decoder's vectors lie close together (mean cosine 0.99 and more behind one instruction). Where training
works they move apart at once: 1 - mean cosine grew tenfold in the starter's first 10 steps. Where it shrinks instead,
each step moves all vectors the same way, and the loss stays at that of a guess.
"""

import logging
import statistics
from collections.abc import Sequence

import torch

log = logging.getLogger(__name__)
_STEPS = 10
_CONSTANT = 0.999  # mean cosine; a decoder that has not learned yet has 0.9 to 0.995
_LATER, _FEW, _SHRUNK, _CLOSE = 30, 10, 0.75, 0.9  # steps; steps of a median; share of the first spread; mean cosine


def measure_spread(gram: torch.Tensor) -> dict[str, float]:
    """How far normalised vectors lie apart, from their cosines [n, n]: mean cosine of two, and their effective rank.

    The effective rank is exp(entropy) of the singular values as shares of their sum (Roy and Vetterli 2007): 1 when
    all vectors are the same, n when they are orthogonal.
    """
    number, gram = len(gram), gram.double()
    mean = float((gram.sum() - gram.trace()) / max(1, number * (number - 1)))
    values = torch.linalg.eigvalsh(gram).clamp_min(0).sqrt()
    shares = values / values.sum()
    return {"train/mean_cosine": mean, "train/effective_rank": float(torch.special.entr(shares).sum().exp())}


def all_alike(cosines: Sequence[float]) -> bool:
    """Whether the vectors are nearly the same in all of the first steps, by their mean cosine in each."""
    return len(cosines) >= _STEPS and min(cosines[:_STEPS]) > _CONSTANT


def moved_together(cosines: Sequence[float]) -> bool:
    """Whether vectors are close and closer together in the last steps than in the first."""
    first, last = statistics.median(cosines[:_FEW]), statistics.median(cosines[-_FEW:])
    return last > _CLOSE and 1 - last < _SHRUNK * (1 - first)


class FirstSteps:
    """Logs a warning for each task whose loss is 0 in the first steps, and one when the vectors are all alike in all of
    them, or closer together later than at the start."""

    def __init__(self) -> None:
        self._silent: set[str] = set()
        self._cosines: list[float] = []
        self._told = False

    def see(self, task: str, loss: float, cosine: float) -> None:
        """One step's task, loss and mean cosine."""
        if len(self._cosines) == _LATER:
            return
        self._cosines.append(cosine)
        if loss == 0 and task not in self._silent and len(self._cosines) <= _STEPS:
            self._silent.add(task)
            log.warning(
                "train: the loss of task %s is 0: nothing is learned from it; its queries have no negatives or only "
                "masked ones (mine's report), or its pairs one grade",
                task,
            )
        if len(self._cosines) == _STEPS and all_alike(self._cosines):
            self._told = True
            log.warning(
                "train: the vectors of all texts are nearly the same (mean cosine %.4f after %s steps); lower "
                "train.learning_rate, or check the student's weights",
                cosine,
                _STEPS,
            )
        if len(self._cosines) == _LATER and not self._told:
            self._compare()

    def _compare(self) -> None:
        """Warn when the vectors have moved together since the first steps."""
        if moved_together(self._cosines):
            log.warning(
                "train: the vectors move together instead of apart (mean cosine %.4f in the first %s steps, %.4f %s "
                "steps later): nothing is learned yet; lower train.learning_rate, raise train.warmup_steps, or train "
                "with more tasks",
                statistics.median(self._cosines[:_FEW]),
                _FEW,
                statistics.median(self._cosines[-_FEW:]),
                _LATER - _FEW,
            )
