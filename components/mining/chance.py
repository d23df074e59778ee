"""Whether the teacher ranks better than chance: positives against the other candidates of the dev queries."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from components.base.errors import UserError
from components.mining.rules import KNOWN_RELEVANT

_FEWEST = 20  # dev queries
_ONE_SIDED = 1.645  # standard errors: 95 %


@dataclass(frozen=True)
class Ranking:
    """Mean share of other candidates that a positive outranks (chance: 0.5), over the dev queries of a task."""

    task: str
    mean: float
    error: float
    queries: int

    @property
    def by_chance(self) -> bool:
        """Whether the mean is not above 0.5 with 95 % confidence."""
        return self.queries >= _FEWEST and self.mean - _ONE_SIDED * self.error <= 0.5

    def __str__(self) -> str:
        return f"{self.task}: {100 * self.mean:.0f} % (+-{100 * self.error:.0f}) over {self.queries} dev queries"


def rank_positives(task: str, dev: pl.DataFrame, positives: pl.DataFrame) -> Ranking:
    """How the teacher ranks a task.

    Args:
        dev: judged candidates of the dev queries: query, score, reason. positives: of the same queries.
    """
    others = dev.filter(~pl.col("reason").is_in(KNOWN_RELEVANT).fill_null(False)).select("query", other="score")
    positives = positives.filter(pl.col("relevance") > 0)
    below = (pl.col("other") < pl.col("score")).cast(pl.Float64) + 0.5 * (pl.col("other") == pl.col("score"))
    shares = positives.join(others, on="query").group_by("query", maintain_order=True).agg(share=below.mean())["share"]
    values = shares.to_numpy()
    error = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0
    return Ranking(task, float(values.mean()) if len(values) else 0.0, error, len(values))


def refuse_chance(rankings: list[Ranking], file: str) -> None:
    """Raise UserError when the teacher ranks by chance in every task that has enough dev queries."""
    measured = [one for one in rankings if one.queries >= _FEWEST]
    if measured and all(one.by_chance for one in measured):
        raise UserError(
            f"{file}: the teacher (score.model) ranks no task better than chance, so nothing can be learned from its "
            f"scores; share of other candidates that a positive outranks: {'; '.join(map(str, measured))}; name another"
        )
