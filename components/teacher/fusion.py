"""Two teachers that differ, as one score on the scale of the first.

Their scales differ (a logit, a cosine, a dot product), so the second one's scores x of a task are moved to the mean and
standard deviation of the first one's, y, before the two are averaged (z-score fusion):

    score = (1 - w) y + w (mean(y) + std(y) (x - mean(x)) / std(x))
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from components.base.errors import UserError
from components.teacher.pairs import Block
from components.teacher.rescoring import Rescoring


@dataclass(frozen=True)
class Fusion:
    """Tables as those of `first`, with scores of both; scores that a source brings along stay.

    Attributes:
        weight: of the second teacher.
        scales: by task, (slope, offset) from the second teacher's score to the first one's scale.
    """

    first: Rescoring
    second: Rescoring
    weight: float
    scales: dict[str, tuple[float, float]]

    @classmethod
    def of(cls, first: Rescoring, second: Rescoring, blocks: Sequence[Block], weight: float) -> "Fusion":
        """Both have scored these blocks. Raises UserError when the second's scores of a task are all equal."""
        moments: dict[str, list[_Moments]] = {}
        for block in blocks:
            both = zip(moments.setdefault(block.task, [_Moments(), _Moments()]), (first, second), strict=True)
            for moment, one in both:
                moment.add(one.scored(block)["score"].drop_nulls().to_numpy())
        return cls(first, second, weight, {task: _scale(task, *pair) for task, pair in moments.items()})

    def table(self, block: Block) -> pl.DataFrame:
        """query, document, positive, reranker_score (float64) of all pairs of a block; sorted."""
        slope, offset = self.scales[block.task]
        own = self.first.scored(block)
        other = offset + slope * self.second.scored(block)["score"].cast(pl.Float64)
        fused = (1 - self.weight) * pl.col("score").cast(pl.Float64) + self.weight * other
        return own.select("query", "document", "positive", reranker_score=pl.coalesce("given", fused))


class _Moments:
    """Mean and standard deviation of scores that come in parts, shifted by the first one against cancellation."""

    def __init__(self) -> None:
        self.number, self.shift, self.total, self.squares = 0, 0.0, 0.0, 0.0

    def add(self, scores: np.ndarray) -> None:
        values = scores.astype(np.float64)
        if not self.number and len(values):
            self.shift = float(values[0])
        self.number += len(values)
        self.total += float((values - self.shift).sum())
        self.squares += float(((values - self.shift) ** 2).sum())

    @property
    def mean(self) -> float:
        return self.shift + self.total / max(1, self.number)

    @property
    def deviation(self) -> float:
        mean = self.total / max(1, self.number)
        return float(np.sqrt(max(0.0, self.squares / max(1, self.number) - mean**2)))


def _scale(task: str, first: _Moments, second: _Moments) -> tuple[float, float]:
    if second.number and not second.deviation:
        raise UserError(
            f"score.second: all {second.number:,} scores of task {task} are {second.mean:g}: it ranks nothing there; "
            "name another model, or set score.second: null"
        )
    slope = first.deviation / second.deviation if second.number else 0.0
    return slope, first.mean - slope * second.mean
