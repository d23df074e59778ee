"""The judge: a model that neither found nor scored the candidates, asked which of them are relevant.

An LLM or cross-encoder gives a logit; a pair is relevant from `mine.judge.threshold` on (a probability, compared after
the sigmoid). A dense or sparse (SPLADE) judge gives similarities, which have no such point: a pair is relevant from the
median of the task's labelled positives on. Every judgement is kept with score and threshold in judgements.parquet.
A pair's score is kept by model, parameters and texts: another margin asks nothing again, an update asks new pairs only.
"""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from components.base.errors import UserError
from components.base.hashing import content_hash
from components.config import JudgeParams
from components.model.device import device_of
from components.model.load_once import load_once
from components.model.locate import locate_model
from components.model.sentence_model import SentenceModel
from components.model.vector_store import VectorStore
from components.teacher.cross_encoder import CrossEncoderTeacher
from components.teacher.llm_reranker import LlmTeacher

_CHUNK = 1024  # pairs scored and stored at once
_SCORING = ("reranker", "model", "instruction", "max_tokens", "token_budget")  # parameters that decide a score


@dataclass(frozen=True)
class _JudgeSource:
    models: Path
    params: JudgeParams

    def load(self) -> Any:
        params = self.params
        if params.reranker == "dense":
            return SentenceModel.load(self.models / params.model, device_of("auto"), params.max_tokens)
        if params.reranker == "sparse":
            return _SparseModel(self.models / params.model, params.max_tokens)
        if params.reranker == "llm":
            return LlmTeacher.load(
                self.models, params.model, params.instruction, params.max_tokens, params.token_budget
            )
        return CrossEncoderTeacher.load(self.models, params.model, params.max_tokens, params.token_budget)


class _SparseModel:
    """A learned sparse encoder (SPLADE), through sentence_transformers.SparseEncoder."""

    def __init__(self, folder: Path, max_tokens: int) -> None:
        from sentence_transformers import SparseEncoder

        self._model = SparseEncoder(str(locate_model(folder)), device=str(device_of("auto")), local_files_only=True)
        self._model.max_seq_length = min(max_tokens, self._model.max_seq_length or max_tokens)

    def score(self, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
        """float32 [n]: the model's own similarity."""
        queries, documents = (list(dict.fromkeys(side)) for side in zip(*pairs, strict=True))
        asked = self._model.encode_query(queries, show_progress_bar=False, convert_to_sparse_tensor=False)
        found = self._model.encode_document(documents, show_progress_bar=False, convert_to_sparse_tensor=False)
        query_place, document_place = ({text: i for i, text in enumerate(side)} for side in (queries, documents))
        left = asked[[query_place[query] for query, _ in pairs]]
        right = found[[document_place[document] for _, document in pairs]]
        return np.asarray(self._model.similarity_pairwise(left, right).cpu().numpy())


def _digest(values: Any) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()


class Judge:
    """Scores pairs of texts, each once in the life of the cache."""

    def __init__(self, params: JudgeParams, models: Path, cache: Path) -> None:
        self.params, self._models = params, models
        folder = models / params.model
        if not folder.exists():
            raise UserError(f"{folder}: mine.judge.model: no model here; run the fetch stage (dvc repro)")
        facts = {name: getattr(params, name) for name in _SCORING} | {"files": content_hash(folder)}
        self._store = VectorStore(cache / "judge", json.dumps(facts, sort_keys=True))

    def score(self, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
        """float64 [n]: logits, or similarities of a dense or sparse judge."""
        parts = [self._stored(pairs[start : start + _CHUNK]) for start in range(0, len(pairs), _CHUNK)]
        return np.concatenate(parts) if parts else np.empty(0)

    def threshold(self, positives: np.ndarray) -> float:
        """The score from which a pair is relevant, given the scores of a task's labelled positives."""
        if self.params.reranker in ("dense", "sparse"):
            return float(np.median(positives))
        probability = self.params.threshold
        return math.inf if probability == 1.0 else math.log(probability / (1.0 - probability))

    def _stored(self, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
        """float64 [n]. A sparse encoder's rounding depends on the pairs beside: they are part of the key."""
        beside = _digest(pairs) if self.params.reranker == "sparse" else ""
        keys = [_digest([*pair, beside]) for pair in pairs]
        known = self._store.has(keys)
        missing = {key: pair for key, pair, there in zip(keys, pairs, known, strict=True) if not there}
        if missing:
            self._store.put(list(missing), self._score(list(missing.values()))[:, None])
        return self._store.read(keys)[:, 0].astype(np.float64)

    def _score(self, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
        try:
            model = load_once(_JudgeSource(self._models, self.params))
        except (OSError, ValueError, KeyError, RuntimeError) as problem:
            reason = " ".join(str(problem).split())[:200]
            raise UserError(
                f"{self._models / self.params.model}: mine.judge.model: cannot be loaded as {self.params.reranker}: "
                f"{reason}; correct mine.judge or fetch.models"
            ) from None
        if isinstance(model, SentenceModel):
            asked = model.encode([query for query, _ in pairs], model.query)
            found = model.encode([document for _, document in pairs], model.document)
            scores = np.asarray((asked * found).sum(axis=1))
        else:
            scores = np.asarray(model.score(pairs))
        if not np.isfinite(scores).all():
            raise UserError(
                f"mine.judge.model: {self.params.model}: a score is not finite; check weights and precision"
            )
        return scores
