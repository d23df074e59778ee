"""Which examples each training step draws: a pure function of the seed, `train` and the number of examples a task.

The score stage scores only what training will draw, so it must know the schedule before the examples are mined: mining
gives every positive of a training query one example, with or without negatives.
"""

from collections import Counter
from collections.abc import Mapping

import numpy as np

from components.config import TrainParams
from components.contracts.tasks import Task

SCHEDULE, ORDER = range(2)  # first part of a generator's key; other parts of training use other numbers


def keyed_random(seed: int, *key: int) -> np.random.Generator:
    """A random generator that depends only on seed and key, not on earlier draws."""
    return np.random.Generator(np.random.PCG64([seed, *key]))


class Schedule:
    """Tasks are drawn by weight * size^alpha within the phase of a step; examples of a task are visited in a new random
    order each epoch.

    Attributes:
        plan: (task, how often it was drawn before) for every step.
    """

    def __init__(self, sizes: Mapping[str, int], tasks: Mapping[str, Task], params: TrainParams, seed: int) -> None:
        self.sizes, self.tasks, self.params, self.seed = sizes, tasks, params, seed
        self._names = sorted(sizes)
        self.plan = self._plan()

    def draw(self, name: str, turn: int) -> np.ndarray:
        """int64 [batch]: places of the examples of a task's `turn`-th batch."""
        epoch, place = divmod(turn, self._batches_an_epoch(name))
        size = self._batch(name)
        return self._order(name, epoch)[place * size : (place + 1) * size]

    def drawn(self) -> dict[str, np.ndarray]:
        """By task: bool [examples], whether any step draws it."""
        turns = Counter(name for name, _ in self.plan)
        drawn = {name: np.zeros(size, dtype=bool) for name, size in self.sizes.items()}
        for name, number in turns.items():
            each, size = self._batches_an_epoch(name), self._batch(name)
            for epoch in range(-(-number // each)):
                batches = min(each, number - epoch * each)
                drawn[name][self._order(name, epoch)[: batches * size]] = True
                if drawn[name].all():
                    break
        return drawn

    def _plan(self) -> list[tuple[str, int]]:
        draw = keyed_random(self.seed, SCHEDULE)
        turns = dict.fromkeys(self._names, 0)
        plan = []
        for step in range(self.params.steps):
            names = self._in_phase(step / self.params.steps)
            sizes = np.array([self.sizes[name] for name in names], dtype=float)
            weights = np.array([self.tasks[name].weight for name in names]) * sizes**self.params.alpha
            name = names[int(draw.choice(len(names), p=weights / weights.sum()))]
            plan.append((name, turns[name]))
            turns[name] += 1
        return plan

    def _in_phase(self, done: float) -> list[str]:
        end = 0.0
        for phase in self.params.phases:
            end += phase.fraction
            if done < end - 1e-9:
                return [name for name in self._names if self.tasks[name].kind in phase.kinds] or self._names
        return self._names

    def _batch(self, name: str) -> int:
        return min(self.params.batch_queries, self.sizes[name])

    def _batches_an_epoch(self, name: str) -> int:
        return self.sizes[name] // self._batch(name)

    def _order(self, name: str, epoch: int) -> np.ndarray:
        return keyed_random(self.seed, ORDER, self._names.index(name), epoch).permutation(self.sizes[name])
