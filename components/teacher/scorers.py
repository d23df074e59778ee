"""Scorers of pairs of texts: a reranker that reads both, or late interaction over stored token vectors.

A scorer is plain values; a worker loads the model, or opens the stores, once.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from components.config import ScoreParams
from components.model.load_once import load_once
from components.model.sentence_model import Side, text_key
from components.model.vector_store import TokenVectorStore, VectorStore
from components.teacher.cross_encoder import CrossEncoderTeacher
from components.teacher.llm_reranker import LlmTeacher
from components.teacher.maxsim import maxsim

_CHUNK = 64  # documents whose token vectors are in memory at once


@dataclass(frozen=True)
class Reranker:
    """`score.model` as a cross-encoder or an LLM."""

    models: Path
    params: ScoreParams

    def load(self) -> CrossEncoderTeacher | LlmTeacher:
        """The model. Raises UserError when it is missing or no reranker."""
        params = self.params
        if params.reranker == "llm":
            return LlmTeacher.load(
                self.models, params.model, params.instruction, params.max_tokens, params.token_budget
            )
        return CrossEncoderTeacher.load(self.models, params.model, params.max_tokens, params.token_budget)

    def score(self, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
        """float32 [n]: logits."""
        teacher: CrossEncoderTeacher | LlmTeacher = load_once(self)
        return teacher.score(pairs)


@dataclass(frozen=True)
class LateInteraction:
    """Cosine and late interaction, fused; all texts are in the stores already."""

    store: Path
    identity: str
    query: Side
    document: Side
    dense_weight: float

    def load(self) -> tuple[VectorStore, TokenVectorStore]:
        """The stores of vectors and token vectors."""
        return VectorStore(self.store, self.identity), TokenVectorStore(self.store, self.identity)

    def score(self, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
        """float32 [n]; the pairs of a document are one matrix product."""
        pooled_store, token_store = load_once(self)
        groups: dict[str, list[int]] = {}
        for place, (_, document) in enumerate(pairs):
            groups.setdefault(document, []).append(place)
        asked = list(dict.fromkeys(query for query, _ in pairs))
        query_keys = [text_key(self.query, text) for text in asked]
        document_keys = [text_key(self.document, document) for document in groups]
        tokens = {text: m.astype(np.float32) for text, m in zip(asked, token_store.get(query_keys), strict=True)}
        pooled = dict(zip(asked, pooled_store.read(query_keys), strict=True))
        scores = np.empty(len(pairs), dtype=np.float32)
        documents = zip(pooled_store.read(document_keys), _in_chunks(token_store, document_keys), strict=True)
        for places, (vector, matrix) in zip(groups.values(), documents, strict=True):
            queries = [pairs[place][0] for place in places]
            late = maxsim([tokens[query] for query in queries], matrix.astype(np.float32))
            cosine = (np.stack([pooled[query] for query in queries]) * vector).sum(axis=1)
            scores[places] = self.dense_weight * cosine + (1 - self.dense_weight) * late
        return scores


def _in_chunks(store: TokenVectorStore, keys: Sequence[str]) -> Iterator[np.ndarray]:
    """The token vectors of each key; few are in memory at a time."""
    for start in range(0, len(keys), _CHUNK):
        yield from store.get(keys[start : start + _CHUNK])
