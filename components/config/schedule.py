"""Parameters of `train` that decide which examples its steps draw.

The score stage reads these keys of `train` and no other, so dvc.yaml names each of them there: a changed learning rate
starts at train. DVC follows a key of its own only where the file states it, so they have no default.
"""

import itertools

from pydantic import Field, model_validator

from components.config.merging import MergeParams
from components.config.types import Fraction, Params, Positive, PositiveFraction, TaskKind


class PhaseParams(Params):
    """A stretch of training on some kinds of task only (STS before retrieval, say)."""

    kinds: list[TaskKind] = Field(description="kinds of task that this phase draws from")
    fraction: PositiveFraction = Field(description="share of the steps; the phases add up to 1")


class ScheduleParams(Params):
    """Which examples are drawn; components/contracts/schedule.py draws them."""

    steps: Positive = Field(description="optimizer steps")
    batch_queries: Positive = Field(description="queries of a step, over all processes")
    alpha: Fraction = Field(description="tasks take turns by weight * size^alpha; 0.5 is usual")
    phases: list[PhaseParams] = Field(description="phases in order; [] is one phase of all kinds of task")
    merge: MergeParams | None = Field(description="null: the adapter is that of one run")

    @property
    def bags(self) -> list[range]:
        """Steps of each adapter that is trained from the start: one range, or those of the bags of `merge`."""
        number = self.merge.number if self.merge and self.merge.of == "bags" else None
        bounds = [self.steps * bag // (number or 1) for bag in range((number or 1) + 1)]
        return [range(*ends) for ends in itertools.pairwise(bounds)]

    @model_validator(mode="after")
    def _phases_cover_the_run(self) -> "ScheduleParams":
        if self.phases and abs(sum(phase.fraction for phase in self.phases) - 1) > 1e-6:
            raise ValueError("the fractions of train.phases must add up to 1")
        return self
