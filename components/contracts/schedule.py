"""Which examples each training step draws: a function of the seed, a few keys of `train` and each task's examples.

The score stage scores only what training will draw, so it must know the schedule before the examples are mined: mining
gives every positive of a training query one example, with or without negatives.
"""

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from components.config import ScheduleParams
from components.contracts.tasks import Task

SCHEDULE, ORDER, BAG, WORDING = 0, 1, 4, 5  # first part of a generator's key; other parts of training use other numbers


def keyed_random(seed: int, *key: int) -> np.random.Generator:
    """A random generator that depends only on seed and key, not on earlier draws."""
    return np.random.Generator(np.random.PCG64([seed, *key]))


class Turn(NamedTuple):
    """The task of a step, the bag (0 unless `train.merge.of: bags`), how often the bag drew the task before, and the
    wording of the instruction."""

    task: str
    bag: int
    number: int
    instruction: str


class Schedule:
    """Tasks take turns by weight * size^alpha within the phase of a step; examples of a task are visited in a new
    random order each epoch. A bag draws from its own sample of each task's examples.

    Each step's share is added to what every task is owed, and the task that is owed most pays with a step (smooth
    weighted round robin), from a random start: after any number of steps every task had its share but for a step or
    two. Independent draws gave a task of a tenth of 60 steps 2 to 11 of them, by the seed.

    Attributes:
        plan: the turn of every step.
    """

    def __init__(self, sizes: Mapping[str, int], tasks: Mapping[str, Task], params: ScheduleParams, seed: int) -> None:
        self.sizes, self.tasks, self.params, self.seed = sizes, tasks, params, seed
        self._names = sorted(sizes)
        self.plan = self._plan()

    def draw(self, turn: Turn) -> np.ndarray:
        """int64 [batch]: places of the examples of a turn's batch."""
        epoch, place = divmod(turn.number, self._batches_an_epoch(turn.task))
        size = self._batch(turn.task)
        return self._order(turn.task, turn.bag, epoch)[place * size : (place + 1) * size]

    def drawn(self) -> dict[str, np.ndarray]:
        """By task: bool [examples], whether any step draws it."""
        turns = Counter((turn.task, turn.bag) for turn in self.plan)
        drawn = {name: np.zeros(size, dtype=bool) for name, size in self.sizes.items()}
        for (name, bag), number in turns.items():
            each, size = self._batches_an_epoch(name), self._batch(name)
            for epoch in range(-(-number // each)):
                batches, order = min(each, number - epoch * each), self._order(name, bag, epoch)
                drawn[name][order[: batches * size]] = True
                if drawn[name][order].all():
                    break
        return drawn

    def _plan(self) -> list[Turn]:
        draw = keyed_random(self.seed, SCHEDULE)
        plan = []
        for bag, steps in enumerate(self.params.bags):
            turns = dict.fromkeys(self._names, 0)
            owed = dict(zip(self._names, draw.random(len(self._names)), strict=True))  # in steps
            for step in steps:
                names = self._in_phase((step - steps.start) / len(steps))
                sizes = np.array([self.sizes[name] for name in names], dtype=float)
                weights = np.array([self.tasks[name].weight for name in names]) * sizes**self.params.alpha
                for name, share in zip(names, weights / weights.sum(), strict=True):
                    owed[name] += share
                name = max(names, key=owed.__getitem__)
                owed[name] -= 1
                plan.append(Turn(name, bag, turns[name], self._wording(name, step)))
                turns[name] += 1
        return plan

    def _wording(self, name: str, step: int) -> str:
        wordings = self.tasks[name].wordings
        if len(wordings) == 1:
            return wordings[0]
        return wordings[int(keyed_random(self.seed, WORDING, step).integers(len(wordings)))]

    def _in_phase(self, done: float) -> list[str]:
        end = 0.0
        for phase in self.params.phases:
            end += phase.fraction
            if done < end - 1e-9:
                return [name for name in self._names if self.tasks[name].kind in phase.kinds] or self._names
        return self._names

    def _size(self, name: str) -> int:
        """Examples that a bag draws from."""
        fraction = self.params.merge.fraction if self.params.merge else None
        return self.sizes[name] if fraction is None else max(1, round(fraction * self.sizes[name]))

    def _batch(self, name: str) -> int:
        return min(self.params.batch_queries, self._size(name))

    def _batches_an_epoch(self, name: str) -> int:
        return self._size(name) // self._batch(name)

    def _order(self, name: str, bag: int, epoch: int) -> np.ndarray:
        place = self._names.index(name)
        if self.params.merge is None or self.params.merge.of != "bags":
            return keyed_random(self.seed, ORDER, place, epoch).permutation(self.sizes[name])
        sample = keyed_random(self.seed, BAG, place, bag).permutation(self.sizes[name])[: self._size(name)]
        return sample[keyed_random(self.seed, BAG, place, bag, 1 + epoch).permutation(len(sample))]
