"""The pairs that the score stage scores, a block of queries at a time: rows only, and never all of them at once.

Pairs of equal texts are scored once a block: a pair is scored as the first rows of its task with the same texts. The
table of a block is made once and kept in a file: several passes read it.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from components.base.files import whole_file
from components.contracts.tables import CANDIDATES, read_rows
from components.contracts.texts import Texts
from components.data.inputs import NEGATIVES, Inputs

BLOCK_QUERIES = 1 << 14


@dataclass(frozen=True)
class Block:
    """A range of the queries of one task, by row."""

    task: str
    start: int
    stop: int

    @property
    def name(self) -> str:
        """Its file name, without suffix."""
        return f"{self.start:09d}-{self.stop:09d}"


def query_blocks(queries: pl.DataFrame) -> list[Block]:
    """Blocks of at most BLOCK_QUERIES queries; they do not depend on which queries are scored."""
    found = []
    for (task,), own in queries.group_by("task", maintain_order=True):
        first, last = own["row"][0], own["row"][-1] + 1
        for start in range(first, last, BLOCK_QUERIES):
            found.append(Block(str(task), start, min(start + BLOCK_QUERIES, last)))
    return found


class Pairs:
    """Candidates of the wanted queries and the source's own negatives of them, and all positives, by block.

    Args:
        candidates: candidates.parquet.
        wanted: bool by query row, whether its candidates are scored.
        tables: folder of the blocks' tables; it goes with the inputs and `wanted`.

    Attributes:
        given: query, document, score of pairs that need no scoring; sorted.
    """

    def __init__(
        self, inputs: Inputs, candidates: Path, queries: Texts, documents: Texts, wanted: np.ndarray, tables: Path
    ) -> None:
        self.inputs, self.queries, self.documents, self.wanted = inputs, queries, documents, wanted
        self.given = pl.DataFrame(schema={**NEGATIVES, "score": pl.Float64})
        self._candidates, self._tables = candidates, tables
        self._task: TaskRows | None = None

    def candidates(self, block: Block, columns: list[str] | None = None) -> pl.DataFrame:
        """Rows of candidates.parquet whose queries are wanted; sorted."""
        found = read_rows(self._candidates, CANDIDATES, block.start, block.stop, columns)
        return found.filter(pl.Series(self.wanted[found["query"].to_numpy()]))

    def table(self, block: Block) -> pl.DataFrame:
        """query, document, positive, first_query, first_document; sorted by query, document."""
        file = self._tables / f"{block.name}.arrow"
        if not file.exists():
            with whole_file(file) as partial:
                self._built(block).write_ipc(partial, compression="lz4")
        return pl.read_ipc(file)

    def _built(self, block: Block) -> pl.DataFrame:
        found = self.candidates(block, ["query", "document"])
        judged, own = (_in_block(pairs, block) for pairs in (self.inputs.qrels, self.inputs.own_negatives))
        positives = _in_block(self.inputs.positives, block)
        own = own.filter(pl.Series(self.wanted[own["query"].to_numpy()], dtype=pl.Boolean))
        pairs = pl.concat([found, judged, own]).unique().sort("query", "document")
        rows = self.rows(block.task)
        return pairs.join(
            positives.with_columns(positive=pl.lit(True)), on=["query", "document"], how="left", maintain_order="left"
        ).with_columns(
            pl.col("positive").fill_null(False),
            first_query=pl.Series(rows.queries.first[pairs["query"].to_numpy() - rows.queries.start]),
            first_document=pl.Series(rows.documents.first[pairs["document"].to_numpy() - rows.documents.start]),
        )

    def distinct(self, block: Block, known: pl.DataFrame | None, by_document: bool) -> pl.DataFrame:
        """query, document: each pair of texts of a block once, without those in `known` or given.

        by_document: sorted by document, else the longest first.
        """
        table = self.table(block)
        table = table.join(self.given_of(block), on=["query", "document"], how="anti", maintain_order="left")
        pairs = table.select(query="first_query", document="first_document").unique()
        if known is not None:
            pairs = pairs.join(known, on=["query", "document"], how="anti")
        if by_document:
            return pairs.sort("document", "query")
        rows = self.rows(block.task)
        length = (
            rows.queries.lengths[pairs["query"].to_numpy() - rows.queries.start]
            + rows.documents.lengths[pairs["document"].to_numpy() - rows.documents.start]
        )
        order = ["length", "query", "document"]
        return pairs.with_columns(length=-pl.Series(length)).sort(order).select("query", "document")

    def given_of(self, block: Block) -> pl.DataFrame:
        """query, document, score of the block's queries."""
        start, stop = (self.given["query"].search_sorted(row) for row in (block.start, block.stop))
        return self.given.slice(start, stop - start)

    def rows(self, task: str) -> "TaskRows":
        """First rows and lengths of a task's texts; the last task's are kept, as blocks come task by task."""
        if self._task is None or self._task.task != task:
            own = (frame.filter(pl.col("task") == task)["row"] for frame in (self.inputs.queries, self.inputs.corpus))
            sides = zip((self.queries, self.documents), own, strict=True)
            self._task = TaskRows(task, *(DistinctRows.of(texts, rows[0], rows[-1] + 1) for texts, rows in sides))
        return self._task


def _in_block(pairs: pl.DataFrame, block: Block) -> pl.DataFrame:
    """query, document of the pairs of a block's queries."""
    start, stop = (pairs["query"].search_sorted(row) for row in (block.start, block.stop))
    return pairs.slice(start, stop - start).select("query", "document")


@dataclass(frozen=True)
class DistinctRows:
    """By row from `start` on: first row with the same text (uint32), bytes of the text."""

    start: int
    first: np.ndarray
    lengths: np.ndarray

    @classmethod
    def of(cls, texts: Texts, start: int, stop: int) -> "DistinctRows":
        return cls(start, texts.first_rows(start, stop), texts.lengths(start, stop))


@dataclass(frozen=True)
class TaskRows:
    """Both sides of a task."""

    task: str
    queries: DistinctRows
    documents: DistinctRows
