"""LLM teacher: a causal language model as a yes/no reranker, like Qwen3-Reranker (arXiv 2506.05176).

The prompt holds instruction, query and document. The raw score is the next-token logit of "yes" minus that of "no"; its
sigmoid is the probability of "yes" given one of the two.
"""

from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import torch

from components.base.errors import UserError
from components.model.batches import TokenBatches, attention_mask, batch_rows, padded_batch
from components.model.device import card_has_bf16, device_of, send
from components.model.locate import locate_model

PREFIX = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct "
    'provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n'
)
SUFFIX = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"


class LlmTeacher:
    """Raw scores of (query, document) pairs by a causal language model; bf16 on GPUs that support it."""

    def __init__(self, model: Any, tokenizer: Any, instruction: str, max_tokens: int, token_budget: int) -> None:
        self.model, self.tokenizer, self.instruction = model, tokenizer, instruction
        self.max_tokens, self.token_budget = max_tokens, token_budget
        self.yes, self.no = _one_token(tokenizer, "yes"), _one_token(tokenizer, "no")
        self._on_cpu = model.device.type == "cpu"
        self._batches = TokenBatches(token_budget, fixed=self._on_cpu)
        self._lock = Lock()

    @classmethod
    def load(cls, models: Path, name: str, instruction: str, max_tokens: int, token_budget: int) -> "LlmTeacher":
        """Load model `name` from outputs/fetch/models. Raises UserError when it is missing."""
        from transformers import AutoModelForCausalLM, AutoTokenizer

        folder = locate_model(models / name)
        device = device_of("auto")
        half = device.type == "cuda" and card_has_bf16()
        how: Any = {"dtype": torch.bfloat16 if half else torch.float32, "device_map": {"": device}}
        model: Any = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, **how)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        return cls(model.eval(), tokenizer, instruction, max_tokens, token_budget)

    def score(self, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
        """float32 [n]: logit of yes minus logit of no. The document is truncated so that a pair fits `max_tokens`."""
        with self._lock:
            sequences = [self._ids(query, document) for query, document in pairs]
        scores = np.empty(len(pairs), dtype=np.float32)
        lengths = [len(ids) for ids in sequences]

        def compute(members: list[int], length: int) -> np.ndarray:
            return self._forward([sequences[i] for i in members], length)

        for members, own in self._batches.run(lengths, compute):
            scores[members] = own
        return scores

    def _ids(self, query: str, document: str) -> list[int]:
        def encode(text: str) -> list[int]:
            return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

        head = encode(f"{PREFIX}<Instruct>: {self.instruction}\n<Query>: {query}\n<Document>: ")
        tail = encode(SUFFIX)
        room = max(0, self.max_tokens - len(head) - len(tail))
        return head + encode(document)[:room] + tail

    def _forward(self, sequences: list[list[int]], length: int) -> np.ndarray:
        rows = batch_rows(length, self.token_budget) if self._on_cpu else len(sequences)
        device = self.model.device
        ids, mask = (make(sequences, length, rows) for make in (padded_batch, attention_mask))  # [rows, length]
        row, last_token = torch.arange(rows), mask.sum(dim=1) - 1  # [rows]
        ids, mask, row, last_token = (send(tensor, device) for tensor in (ids, mask, row, last_token))
        with torch.inference_mode():
            hidden = self.model.base_model(input_ids=ids, attention_mask=mask).last_hidden_state
            last = hidden[row, last_token]  # [rows, hidden]: the same shape for every batch
            yes, no = self.model.get_output_embeddings().weight[[self.yes, self.no]].float()
            # a sum a row, not last @ head.T: a product of two columns rounds odd rows differently on Intel CPUs (MKL)
            scores = (last.float() * yes).sum(dim=1) - (last.float() * no).sum(dim=1)
        return np.asarray(scores.cpu().numpy()[: len(sequences)])


def _one_token(tokenizer: Any, word: str) -> int:
    """Token id of an answer word; its first token if the tokenizer splits it."""
    ids = tokenizer(word, add_special_tokens=False)["input_ids"]
    if not ids:
        raise UserError(f"score.model: the tokenizer has no token for {word!r}; choose another reranker")
    return int(ids[0])
