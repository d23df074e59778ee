"""A dense teacher's vectors: every text embedded once, in shards of rows, and read from the store a block at a time."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from components.base.errors import UserError
from components.config import DenseTeacherParams, EngineParams
from components.contracts.texts import Texts
from components.model.load_once import load_once
from components.model.sentence_model import SentenceModel, SentenceSource, Side, text_key
from components.model.vector_store import TokenVectorStore, VectorStore, pack_keys
from components.stage.executor import run_shards

BLOCK = 8192  # texts in memory at a time


class Rows(NamedTuple):
    """Rows of a table of texts (int64, sorted), and how they are prompted for the teacher."""

    side: Side
    texts: Texts
    rows: np.ndarray

    def blocks(self, size: int = BLOCK) -> Iterator["Rows"]:
        """The same rows, `size` at a time."""
        for start in range(0, len(self.rows), size):
            yield self._replace(rows=self.rows[start : start + size])

    def read(self) -> list[str]:
        """The texts."""
        return self.texts.take(self.rows)

    def keys(self) -> np.ndarray:
        """The store's keys of the texts, packed."""
        return pack_keys([text_key(self.side, text) for text in self.read()])


def embed_rows(source: SentenceSource, part: Rows, tokens: bool) -> None:
    """Embed texts that the store lacks, with their token vectors for late interaction when `tokens`; a shard."""
    model: SentenceModel = load_once(source)
    texts = part.read()
    if not tokens:
        model.encode(texts, part.side)
        return
    keys = [text_key(part.side, text) for text in texts]
    vectors, matrices = model.forward(texts, part.side, tokens=True)
    TokenVectorStore(source.store, model.identity).put(keys, matrices)
    VectorStore(source.store, model.identity).put(keys, vectors)


class EmbeddedTexts:
    """Vectors of many texts by one teacher."""

    def __init__(self, models: Path, name: str, params: DenseTeacherParams, cache: Path) -> None:
        self.name, self.params, self.store = name, params, cache / "vectors"
        self.source = SentenceSource(models / name, self.store, max_tokens=params.max_tokens)
        self.reader: SentenceModel = load_once(self.source).reader()
        self.identity = self.reader.identity
        self.vectors = VectorStore(self.store, self.identity)
        self.tokens = TokenVectorStore(self.store, self.identity)

    def sides(self, task: str, symmetric: bool) -> tuple[Side, Side]:
        """How the queries and the documents of a task are prompted for this teacher.

        Raises:
            UserError: `task_prompts` is set and the model has no prompt of this name.
        """
        if not self.params.task_prompts:
            return Side(self.params.query_prompt), Side(self.params.document_prompt)
        prompts = self.reader.prompts
        if task not in prompts:
            raise UserError(
                f"retrieve.dense.{self.name}.task_prompts: {self.source.folder} has no prompt for task {task!r}, only "
                f"for {', '.join(sorted(prompts))}; set task_prompts: false and write query_prompt"
            )
        query = self.reader.query._replace(prompt=prompts[task] or "")
        return query, query if symmetric else self.reader.document

    def fill(self, wanted: Sequence[Rows], what: str, engine: EngineParams, threads: int) -> int:
        """Embed the texts that the store lacks, in the order given; returns how many that were.

        The store is read in that order too, and reads neighbours faster.
        """
        shards: list[tuple[SentenceSource, Rows, bool]] = []
        number = 0
        for own in _distinct(wanted):
            missing = [block.rows[~self._known(block)] for block in own.blocks()]
            left = own._replace(rows=np.concatenate([np.empty(0, np.int64), *missing]))
            shards += [(self.source, part, self.params.token_vectors) for part in left.blocks(engine.shard)]
            number += len(left.rows)
        run_shards(embed_rows, shards, what, engine, threads)
        return number

    def _known(self, block: Rows) -> np.ndarray:
        """bool [n]: which texts need no embedding."""
        keys = block.keys()
        known = self.vectors.has(keys)
        return known & self.tokens.has(keys) if self.params.token_vectors else known

    def blocks(self, wanted: Rows, size: int) -> Iterator[np.ndarray]:
        """float32 [<= size, dim] per block of rows, in order."""
        for block in wanted.blocks(size):
            yield self.all(block)

    def all(self, wanted: Rows) -> np.ndarray:
        """float32 [n, dim], one row per text. Raises MissingVectorError when a text is not stored."""
        return self.reader.encode(wanted.read(), wanted.side)


def _distinct(wanted: Sequence[Rows]) -> Iterator[Rows]:
    """The same texts, each once per side: the first row that holds it."""
    for side in dict.fromkeys(one.side for one in wanted):
        own = [one for one in wanted if one.side == side and len(one.rows)]
        parts = [
            one.texts.digests(int(one.rows[0]), int(one.rows[-1]) + 1)[one.rows - one.rows[0]].with_columns(
                part=pl.lit(number, pl.UInt32), row=pl.Series(one.rows)
            )
            for number, one in enumerate(own)
        ]
        if parts:
            first = pl.concat(parts).unique(["high", "low"], keep="first", maintain_order=True)
            for _, rows in first.group_by("part", maintain_order=True):
                yield own[rows["part"][0]]._replace(rows=rows["row"].to_numpy())
