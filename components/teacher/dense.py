"""A dense teacher: texts to vectors, through the content-addressed store.

A batch always has the same shape (components/teacher/batches.py), so a vector does not depend on the texts that
happened to be embedded beside it: the store, the shards and the engine can't change a bit of the result.
"""

import hashlib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any, Literal, NamedTuple

import numpy as np
import torch

from components.base.errors import UserError
from components.base.hashing import content_hash
from components.config import DenseTeacherParams, EngineParams
from components.model.locate import locate_model
from components.model.vector_store import TokenVectorStore, VectorStore
from components.stage.executor import run_shards
from components.teacher.batches import CPU_TOKENS, batch_rows, token_batches

_TOKENISED = 64  # texts tokenised together: they come padded to the longest


class Side(NamedTuple):
    """How texts are put to a dense teacher: what stands before them, and whose length limit of the model cuts them."""

    prompt: str = ""
    kind: Literal["query", "document"] | None = None  # None: the model's general limit


PLAIN = Side()


class DenseTeacher:
    """A sentence-transformers model that gives pooled vectors and, for late interaction, token vectors.

    Attributes:
        identity: sha256 of what decides a vector besides the text: the model's files and the length it is cut to.
    """

    def __init__(self, model: Any, identity: str, max_tokens: int) -> None:
        self.model, self.identity, self.max_tokens = model, identity, max_tokens
        self.tokens = 0
        self._lock = Lock()  # a fast tokenizer must not be entered twice

    @classmethod
    def load(cls, models: Path, name: str, params: DenseTeacherParams) -> "DenseTeacher":
        """The model `name` of outputs/fetch/models. Raises UserError when it is not there."""
        from sentence_transformers import SentenceTransformer

        folder = locate_model(models / name)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        model = SentenceTransformer(str(folder), device=device, local_files_only=True)
        most = int(model.max_seq_length or 512)
        limit = min(params.max_tokens or most, most)
        model.max_seq_length = limit
        identity = hashlib.sha256(f"{content_hash(folder)} {limit} preprocess fp32".encode()).hexdigest()
        return cls(model.eval(), identity, limit)

    def encode(self, texts: Sequence[str], tokens: bool, side: Side = PLAIN) -> tuple[np.ndarray, list[np.ndarray]]:
        """(vectors: float32 [n, dim], L2-normalised; token vectors: float16 [tokens, dim] each, when asked for).

        Token vectors are L2-normalised and leave out the special tokens.
        """
        ids = self._ids(texts, side)
        vectors = np.empty((len(texts), self.model.get_embedding_dimension()), dtype=np.float32)
        matrices: list[np.ndarray] = [np.empty((0, 0), dtype=np.float16)] * (len(texts) if tokens else 0)
        for members, length in token_batches([len(sequence) for sequence in ids], CPU_TOKENS):
            pooled, hidden = self._forward([ids[i] for i in members], length)
            vectors[members] = pooled
            for row, i in enumerate(members if tokens else []):
                matrices[i] = hidden[row, self._ordinary(ids[i])].astype(np.float16)
        return vectors, matrices

    def _ids(self, texts: Sequence[str], side: Side) -> list[list[int]]:
        """Token ids by the model's own rules: prompt, chat template if it has one, length limit."""
        found: list[list[int]] = []
        for start in range(0, len(texts), _TOKENISED):
            part = list(texts[start : start + _TOKENISED])
            with self._lock:
                features = self.model.preprocess(part, prompt=side.prompt or None, task=side.kind)
            rows = zip(features["input_ids"], features["attention_mask"].bool(), strict=True)
            found += [ids[mask].tolist() for ids, mask in rows]
        return found

    def _forward(self, sequences: list[list[int]], length: int) -> tuple[np.ndarray, np.ndarray]:
        rows = batch_rows(length, CPU_TOKENS)
        ids = torch.full((rows, length), self.model.tokenizer.pad_token_id)  # [rows, length]
        mask = torch.zeros((rows, length), dtype=torch.long)
        mask[len(sequences) :, 0] = 1  # the rows that only fill the batch
        for row, sequence in enumerate(sequences):
            ids[row, : len(sequence)] = torch.tensor(sequence)
            mask[row, : len(sequence)] = 1
            self.tokens += len(sequence)
        device = self.model.device
        with torch.inference_mode():
            out = self.model({"input_ids": ids.to(device), "attention_mask": mask.to(device)})
            pooled = torch.nn.functional.normalize(out["sentence_embedding"].float(), dim=-1)
            hidden = torch.nn.functional.normalize(out["token_embeddings"].float(), dim=-1)
        return pooled[: len(sequences)].cpu().numpy(), hidden.cpu().numpy()

    def _ordinary(self, ids: list[int]) -> list[int]:
        special = set(self.model.tokenizer.all_special_ids)
        return [i for i, token in enumerate(ids) if token not in special] or list(range(len(ids)))


def text_key(side: Side, text: str) -> str:
    """The store's key of a text put that way."""
    kind = f"{side.kind}\0" if side.kind else ""
    return hashlib.sha256(f"{kind}{side.prompt}\0{text}".encode()).hexdigest()


@lru_cache(maxsize=4)
def _teacher(models: Path, name: str, params: DenseTeacherParams) -> DenseTeacher:
    return DenseTeacher.load(models, name, params)


def embed_shard(
    models: Path, name: str, params: DenseTeacherParams, cache: Path, side: Side, texts: Sequence[str]
) -> None:
    """Embed texts and put them in the store; a shard of `run_shards`."""
    EmbeddedTexts(models, name, params, cache).embed(texts, side)


class EmbeddedTexts:
    """Vectors of many texts by one teacher, computed at most once ever and read from disk a block at a time."""

    def __init__(self, models: Path, name: str, params: DenseTeacherParams, cache: Path) -> None:
        self._where = (models, name, params, cache)
        self.params = params
        self.teacher = _teacher(models, name, params)
        self.keep_tokens = params.token_vectors
        self.store = cache / "vectors"
        self.vectors = VectorStore(self.store, self.teacher.identity)
        self.tokens = TokenVectorStore(self.store, self.teacher.identity)

    def sides(self, task: str, symmetric: bool) -> tuple[Side, Side]:
        """How the queries and the documents of a task are put to this teacher.

        Raises:
            UserError: `task_prompts` is set and the model has no prompt of this name.
        """
        if not self.params.task_prompts:
            return Side(self.params.query_prompt), Side(self.params.document_prompt)
        prompts = self.teacher.model.prompts
        if task not in prompts:
            models, name = self._where[:2]
            raise UserError(
                f"retrieve.dense.{name}.task_prompts: {models / name} has no prompt for task {task!r}, only for "
                f"{', '.join(sorted(prompts))}; set task_prompts: false and write query_prompt"
            )
        query = Side(prompts[task], "query")
        return query, query if symmetric else Side(prompts.get("document") or "", "document")

    def fill(self, texts: Sequence[str], side: Side, what: str, shard: int, engine: EngineParams, threads: int) -> int:
        """Embed the texts that the store lacks, longest first, `shard` texts at a time; returns how many that were."""
        unique = list(dict.fromkeys(texts))
        keys = [text_key(side, text) for text in unique]
        known = self.vectors.has(keys)
        if self.keep_tokens:
            known &= self.tokens.has(keys)
        missing = sorted(np.flatnonzero(~known).tolist(), key=lambda i: (-len(unique[i]), i))
        shares = [[unique[i] for i in missing[start : start + shard]] for start in range(0, len(missing), shard)]
        run_shards(embed_shard, [(*self._where, side, share) for share in shares], what, engine, threads)
        return len(missing)

    def embed(self, texts: Sequence[str], side: Side) -> None:
        """Embed all of `texts` and store them."""
        keys = [text_key(side, text) for text in texts]
        vectors, matrices = self.teacher.encode(texts, self.keep_tokens, side)
        if self.keep_tokens:
            self.tokens.put(keys, matrices)
        self.vectors.put(keys, vectors)

    def blocks(self, texts: Sequence[str], side: Side, size: int) -> Iterator[np.ndarray]:
        """float32 [<= size, dim] per block of texts, in order."""
        for start in range(0, len(texts), size):
            yield self.all(texts[start : start + size], side)

    def all(self, texts: Sequence[str], side: Side) -> np.ndarray:
        """float32 [n, dim], one row per text. Raises KeyError when a text is not stored."""
        found, vectors = self.vectors.get([text_key(side, text) for text in texts])
        if not found.all():
            raise KeyError(texts[int(found.argmin())])
        return vectors
