"""A cross-encoder teacher: any sequence-classification reranker, through sentence_transformers.CrossEncoder.

Pairs come sorted by length; a batch holds as many as the token budget allows. On a CPU the batches of one padded length
have one shape, so a score does not depend on the rest of the batch; on a GPU no batch is filled up.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import torch

from components.base.errors import UserError
from components.model.batches import CPU_TOKENS, TokenBatches, attention_mask, batch_rows, padded_batch
from components.model.device import card_has_bf16, device_of, send
from components.model.locate import locate_model

_READS_FIRST_TOKEN = {"bert", "roberta", "xlm-roberta", "camembert", "electra"}  # model types


class CrossEncoderTeacher:
    """Raw logits of (query, document) pairs; bf16 if the device supports it, else fp32.

    On a CPU the token budget is at most CPU_TOKENS.
    """

    def __init__(self, model: Any, max_tokens: int, token_budget: int) -> None:
        self.model, self.max_tokens = model, max_tokens
        self._on_cpu = model.device.type == "cpu"
        self.token_budget = min(token_budget, CPU_TOKENS) if self._on_cpu else token_budget
        self._batches = TokenBatches(self.token_budget, fixed=self._on_cpu)
        self._lock = Lock()

    @classmethod
    def load(
        cls, models: Path, name: str, max_tokens: int, token_budget: int, dtype: torch.dtype | None = None
    ) -> "CrossEncoderTeacher":
        """Load model `name` from outputs/fetch/models; bf16 or fp32 by device when `dtype` is None.

        Raises UserError when it is missing or outputs several logits.
        """
        from sentence_transformers import CrossEncoder

        folder = locate_model(models / name)
        device = device_of("auto")
        model = CrossEncoder(
            str(folder), device=str(device), local_files_only=True, model_kwargs={"dtype": dtype or _precision(device)}
        )
        if model.num_labels != 1:
            raise UserError(f"{folder}: score.model: outputs {model.num_labels} logits per pair; a reranker outputs 1")
        compute_first_token_only(model.model)
        return cls(model.eval(), max_tokens, token_budget)

    def score(self, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
        """float32 [n]: one raw logit per pair."""
        with self._lock:
            encoded = self.model.tokenizer(
                [query for query, _ in pairs],
                [document for _, document in pairs],
                truncation="longest_first",
                max_length=self.max_tokens,
            )
        scores = np.empty(len(pairs), dtype=np.float32)
        lengths = [len(ids) for ids in encoded["input_ids"]]
        # A card is given every batch before the first result is read: to read one waits for it.
        for members, own in list(self._batches.run(lengths, partial(self._forward, encoded))):
            scores[members] = own.cpu().numpy()[: len(members)]
        return scores

    def _forward(self, encoded: Any, members: list[int], length: int) -> torch.Tensor:
        """float32 [rows], on the model's device."""
        fill = {"input_ids": self.model.tokenizer.pad_token_id}
        rows = batch_rows(length, self.token_budget) if self._on_cpu else len(members)
        features = {
            name: padded_batch([values[i] for i in members], length, rows, fill.get(name, 0))
            for name, values in encoded.items()
            if name != "attention_mask"
        }  # [rows, length] each
        ids = [encoded["input_ids"][i] for i in members]
        features["attention_mask"] = attention_mask(ids, length, rows)
        features = {name: send(values, self.model.device) for name, values in features.items()}
        with torch.inference_mode():
            logits: torch.Tensor = self.model.model(**features).logits[:, 0].float()
        return logits


def compute_first_token_only(model: Any) -> None:
    """Make the last layer compute the first token only, if the head reads no other; logits are unchanged.

    Output projection and MLP of the other tokens are skipped: three quarters of the layer, and a twelfth of the time of
    a 6-layer model. Model types outside _READS_FIRST_TOKEN are unchanged.
    """
    if model.config.model_type in _READS_FIRST_TOKEN:
        model.base_model.encoder.layer[-1].attention.output.register_forward_pre_hook(_first_token)


def _first_token(_: torch.nn.Module, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    return tuple(hidden[:, :1] for hidden in args)  # attention output and residual, [rows, length, dim] each


def _precision(device: torch.device) -> torch.dtype:
    fast = card_has_bf16() if device.type == "cuda" else torch.cpu._is_avx512_bf16_supported()
    return torch.bfloat16 if fast else torch.float32
