"""qrels.parquet by query: the documents judged for a query, and their grades."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl


@dataclass(frozen=True)
class Judgements:
    """Pairs sorted by query, then document: row numbers and grades."""

    query: np.ndarray  # uint32 [pairs]
    document: np.ndarray  # uint32 [pairs]
    grade: np.ndarray  # float64 [pairs]

    @cached_property
    def _keys(self) -> np.ndarray:
        return _key(self.query, self.document)

    @classmethod
    def of_table(cls, qrels: pl.DataFrame) -> "Judgements":
        """The columns of QRELS, not copied."""
        return cls(*(qrels[name].to_numpy() for name in ("query", "document", "relevance")))

    def of(self, queries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(place in `queries`, document) of every pair of these queries: int64 and uint32 [found]."""
        starts, ends = (np.searchsorted(self.query, queries, side) for side in ("left", "right"))
        sizes = ends - starts
        places = np.repeat(np.arange(len(queries)), sizes)
        within = np.arange(len(places)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        return places, self.document[np.repeat(starts, sizes) + within]

    def grades(self, queries: np.ndarray, documents: np.ndarray) -> np.ndarray:
        """float64 [n]: grade of each pair; 1 where it was not judged."""
        keys, wanted = self._keys, _key(queries, documents)
        at = np.searchsorted(keys, wanted)
        judged = at < len(keys)
        judged[judged] = keys[at[judged]] == wanted[judged]
        found = np.ones(len(wanted))
        found[judged] = self.grade[at[judged]]
        return found


def _key(queries: np.ndarray, documents: np.ndarray) -> np.ndarray:
    return (queries.astype(np.uint64) << np.uint64(32)) | documents.astype(np.uint64)
