"""The queries of a task that the report shows: all of a small task, a draw from a large one."""

from dataclasses import dataclass, field

import numpy as np
import polars as pl

from components.mining.facts import TaskTexts

MOST = 5000  # queries


@dataclass
class Sample:
    """Candidates, positives and suspicious positives of the drawn queries, part by part.

    Scores in it are on the scale of the rules (`value`), so that they can be compared with limits.
    """

    queries: pl.DataFrame
    all_queries: int
    _candidates: list[pl.DataFrame] = field(default_factory=list)
    _positives: list[pl.DataFrame] = field(default_factory=list)
    _suspicious: list[pl.DataFrame] = field(default_factory=list)

    @classmethod
    def draw(cls, texts: TaskTexts, seed: int) -> "Sample":
        """Draw the queries by the seed."""
        drawn = np.random.Generator(np.random.PCG64(seed)).permutation(len(texts.queries))[:MOST]
        return cls(texts.queries.select(query="row")[np.sort(drawn)], len(texts.queries))

    def add(self, candidates: pl.DataFrame, positives: pl.DataFrame, suspicious: pl.DataFrame) -> None:
        """Keep what belongs to the drawn queries."""
        self._candidates.append(self._own(candidates).with_columns(score="value"))
        self._positives.append(self._own(positives).with_columns(score="value"))
        self._suspicious.append(self._own(suspicious))

    def _own(self, rows: pl.DataFrame) -> pl.DataFrame:
        return rows.join(self.queries, on="query", how="semi", maintain_order="left")

    @property
    def candidates(self) -> pl.DataFrame:
        """Judged candidates, sorted by query and document."""
        return pl.concat(self._candidates)

    @property
    def positives(self) -> pl.DataFrame:
        """query, document, score; sorted."""
        return pl.concat(self._positives)

    @property
    def suspicious(self) -> pl.DataFrame:
        """Those with the most candidates above them first; their score is the raw one."""
        columns = ["share_above", "query", "document"]
        return pl.concat(self._suspicious).sort(columns, descending=[True, False, False])
