"""A learned sparse encoder as a teacher: SPLADE (Formal 2021, arXiv 2109.10086).

A text is a vector over the vocabulary: w_j = max over its tokens i of log(1 + relu(logit_ij)). Its masked language
model is loaded by sentence_transformers.SparseEncoder. The maximum is taken before log and relu, which are monotone:
on a CPU that is half of the library's time.
"""

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
import torch

from components.base.errors import UserError
from components.model.device import device_of
from components.model.locate import locate_model
from components.teacher.pair_similarity import pair_similarities

_KEPT = 1 << 15  # vectors kept for the next pairs: about 1 kB each


class SparseTeacher:
    """Similarity (dot product) of the sparse vectors of query and document."""

    def __init__(self, folder: Path, max_tokens: int) -> None:
        """Raises UserError when the folder holds no encoder whose vectors are maxima over tokens."""
        from sentence_transformers import SparseEncoder
        from sentence_transformers.sparse_encoder.modules import SpladePooling

        located = locate_model(folder)
        model = SparseEncoder(str(located), device=str(device_of("auto")), local_files_only=True)
        pooling: Any = model[-1]
        if not isinstance(pooling, SpladePooling) or (pooling.pooling_strategy, pooling.activation_function) != (
            "max",
            "relu",
        ):
            raise UserError(f"{located}: no SPLADE encoder (maximum over tokens, relu); name one")
        self._tokenizer: Any = model.tokenizer
        self._max_tokens = min(max_tokens, model.max_seq_length or max_tokens)
        language_model: Any = model.eval()[0].model
        head = language_model.get_output_embeddings()
        self._weight, self._bias = head.weight, head.bias
        head.forward = lambda hidden: hidden  # the "logits" of the model are then the head's inputs
        self._language_model = language_model
        self._vectors: OrderedDict[str, scipy.sparse.csr_array] = OrderedDict()

    def score(self, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
        """float32 [n]; each text is encoded once."""
        return pair_similarities(pairs, self._encode, self._encode).astype(np.float32, copy=False)

    def _encode(self, texts: Sequence[str]) -> scipy.sparse.csr_array:
        """float32 [n, vocabulary]."""
        rows = []
        for text in texts:
            vector = self._vectors.pop(text, None)
            self._vectors[text] = vector = self._vector(text) if vector is None else vector
            rows.append(vector)
        while len(self._vectors) > _KEPT:
            self._vectors.popitem(last=False)
        return scipy.sparse.vstack(rows, format="csr")

    def _vector(self, text: str) -> scipy.sparse.csr_array:
        """float32 [1, vocabulary]."""
        inputs = self._tokenizer(text, truncation=True, max_length=self._max_tokens, return_tensors="pt")
        with torch.inference_mode():
            hidden = self._language_model(**inputs.to(self._weight.device)).logits[0]  # [tokens, width]
            logits = torch.nn.functional.linear(hidden, self._weight, self._bias)  # [tokens, vocabulary]
            vector = logits.amax(0).relu_().log1p_()
        return scipy.sparse.csr_array(vector.float().cpu().numpy()[None])
