"""The judge: a model that neither found nor scored the candidates, asked which of them are relevant.

An LLM or cross-encoder gives a logit; a pair is relevant from `mine.judge.threshold` on (a probability, compared after
the sigmoid). A dense or sparse (SPLADE) judge gives similarities, which have no such point: a pair is relevant from the
median of the task's labelled positives on. Every judgement is kept with score and threshold in judgements.parquet.
A pair's score is kept by model, parameters and texts: another margin asks nothing again, an update asks new pairs only.
"""

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from components.base.errors import UserError
from components.base.hashing import content_hash, json_hash
from components.config import JudgeParams
from components.model.vector_store import VectorStore
from components.teacher.pair_model import PairModel

_CHUNK = 1024  # pairs scored and stored at once
_SCORING = ("reranker", "model", "instruction", "max_tokens", "token_budget")  # parameters that decide a score


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
        """float64 [n]."""
        keys = [json_hash(pair) for pair in pairs]
        known = self._store.has(keys)
        missing = {key: pair for key, pair, there in zip(keys, pairs, known, strict=True) if not there}
        if missing:
            self._store.put(list(missing), self._score(list(missing.values()))[:, None])
        return self._store.read(keys)[:, 0].astype(np.float64)

    def _score(self, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
        scores = PairModel(self._models, self.params, "mine.judge").score(pairs)
        if not np.isfinite(scores).all():
            raise UserError(
                f"mine.judge.model: {self.params.model}: a score is not finite; check weights and precision"
            )
        return scores
