"""A dense teacher's vectors: every text embedded once, in shards, and read from the store a block at a time."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from components.base.errors import UserError
from components.config import DenseTeacherParams, EngineParams
from components.model.load_once import load_once
from components.model.sentence_model import SentenceModel, SentenceSource, Side, text_key
from components.model.vector_store import TokenVectorStore, VectorStore
from components.stage.executor import run_shards


def embed_side(source: SentenceSource, side: Side, texts: Sequence[str], tokens: bool) -> None:
    """Embed texts that the store lacks, with their token vectors for late interaction when `tokens`; a shard."""
    model: SentenceModel = load_once(source)
    if not tokens:
        model.encode(texts, side)
        return
    keys = [text_key(side, text) for text in texts]
    vectors, matrices = model.forward(texts, side, tokens=True)
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
        """How the queries and the documents of a task are put to this teacher.

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

    def fill(self, texts: Mapping[Side, Sequence[str]], what: str, engine: EngineParams, threads: int) -> int:
        """Embed the texts that the store lacks, the longest of each side first; returns how many that were."""
        shards: list[tuple[SentenceSource, Side, list[str], bool]] = []
        number = 0
        for side, own in texts.items():
            unique = list(dict.fromkeys(own))
            keys = [text_key(side, text) for text in unique]
            known = self.vectors.has(keys)
            if self.params.token_vectors:
                known &= self.tokens.has(keys)
            missing = sorted(np.flatnonzero(~known).tolist(), key=lambda i: (-len(unique[i]), i))
            for start in range(0, len(missing), engine.shard):
                share = [unique[i] for i in missing[start : start + engine.shard]]
                shards.append((self.source, side, share, self.params.token_vectors))
            number += len(missing)
        run_shards(embed_side, shards, what, engine, threads)
        return number

    def blocks(self, texts: Sequence[str], side: Side, size: int) -> Iterator[np.ndarray]:
        """float32 [<= size, dim] per block of texts, in order."""
        for start in range(0, len(texts), size):
            yield self.all(texts[start : start + size], side)

    def all(self, texts: Sequence[str], side: Side) -> np.ndarray:
        """float32 [n, dim], one row per text. Raises MissingVectorError when a text is not stored."""
        return self.reader.encode(texts, side)
