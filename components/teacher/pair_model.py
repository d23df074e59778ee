"""Any model that scores pairs of texts, by its parameters: a judge of candidates, a second teacher."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from components.base.errors import UserError
from components.base.short_lines import describe_exception
from components.config import PairModelParams
from components.model.device import device_of
from components.model.load_once import load_once
from components.model.sentence_model import SentenceModel
from components.teacher.cross_encoder import CrossEncoderTeacher
from components.teacher.llm_reranker import LlmTeacher
from components.teacher.pair_similarity import pair_similarities
from components.teacher.sparse import SparseTeacher


@dataclass(frozen=True)
class PairModel:
    """Plain values that travel to a worker, which loads the model once.

    Attributes:
        models: outputs/fetch/models.
        key: of the parameters, for errors: mine.judge, score.second.
    """

    models: Path
    params: PairModelParams
    key: str

    def load(self) -> Any:
        """The model. Raises UserError when it cannot be loaded as what the parameters say."""
        params = self.params
        try:
            if params.reranker == "dense":
                return SentenceModel.load(self.models / params.model, device_of("auto"), params.max_tokens)
            if params.reranker == "sparse":
                return SparseTeacher(self.models / params.model, params.max_tokens)
            if params.reranker == "llm":
                return LlmTeacher.load(
                    self.models, params.model, params.instruction, params.max_tokens, params.token_budget
                )
            return CrossEncoderTeacher.load(self.models, params.model, params.max_tokens, params.token_budget)
        except (OSError, ValueError, KeyError, RuntimeError) as problem:
            reason = describe_exception(problem)
            raise UserError(
                f"{self.models / params.model}: {self.key}.model: cannot be loaded as {params.reranker}: "
                f"{reason}; correct {self.key} or fetch.models"
            ) from None

    def score(self, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
        """[n]: logits, or similarities of a dense or sparse model."""
        model = load_once(self)
        if not isinstance(model, SentenceModel):
            return np.asarray(model.score(pairs))
        return pair_similarities(pairs, *(partial(model.encode, side=side) for side in (model.query, model.document)))
