"""Encode many queries of one task with a shared prompt prefix, with any exported or registered model.

`model.encode_query` computes the task's prompt, shots included, once per query. Here the common prefix is computed once
per row of `token_budget` tokens (components/model/packing.py). The token ids and their truncation are those of
sentence-transformers, so the vectors are the same up to the order of sums.

    model = load_production()                                        # components.tracking.load
    vectors = encode_task(model, ["is the sky blue", ...], "boolq")
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from components.base.errors import UserError
from components.model.attention import PACKED
from components.model.backbone import pooled
from components.model.packed_rows import PackedRows
from components.model.packing import pack

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

TOKENISED = 4096  # texts tokenized and packed together: bounds the host memory of their repeated prefix


def encode_task(model: "SentenceTransformer", texts: Sequence[str], task: str, token_budget: int = 8192) -> np.ndarray:
    """float32 [n, dim], L2-normalised: each text after `task`'s instruction and shots.

    Args:
        task: a name in `model.prompts`.
        token_budget: tokens in one forward pass, prefix included.

    Raises:
        UserError: no such task, or the model does not pool the last token (a shared prefix would not be exact).
    """
    if task not in model.prompts:
        raise UserError(f"task: {task!r}; must be one of {', '.join(sorted(model.prompts))}")
    check_pooling(model)
    unique = list(dict.fromkeys(texts))
    vectors = np.empty((len(unique), model.get_embedding_dimension() or 0), dtype=np.float32)
    for start in range(0, len(unique), TOKENISED):
        part = unique[start : start + TOKENISED]
        vectors[start : start + len(part)] = encode_ids(model, token_ids(model, part, task), token_budget)
    place = {text: i for i, text in enumerate(unique)}
    return vectors[[place[text] for text in texts]]


def check_pooling(model: "SentenceTransformer") -> None:
    """Raises UserError for a model that does not pool the last token: packed rows would not be exact."""
    if not (hasattr(model[1], "pooling_mode") and "lasttoken" in str(model[1].pooling_mode)):
        raise UserError("the model does not pool the last token, so queries cannot share a prefix; use encode_query")


def encode_ids(model: "SentenceTransformer", sequences: list[list[int]], token_budget: int) -> np.ndarray:
    """float32 [n, dim], L2-normalised; what all the sequences begin with is computed once per row."""
    shared = common_prefix(sequences)
    rest = [ids[len(shared) :] for ids in sequences]
    with torch.inference_mode(), _packed(model[0].model) as backbone:
        vectors = np.empty((len(sequences), int(backbone.config.hidden_size)), dtype=np.float32)

        def compute(members: list[int], tokens: int) -> np.ndarray:
            row = pack(shared, [rest[i] for i in members]).to(backbone.device)
            found: np.ndarray = pooled(backbone, row, "last").cpu().numpy()
            return found

        for members, found in PackedRows(token_budget, len(shared)).run([len(ids) for ids in rest], compute):
            vectors[members] = found
    return vectors


def common_prefix(sequences: Sequence[list[int]]) -> list[int]:
    """The longest common prefix of the sequences; never includes the last id of a sequence.

    >>> common_prefix([[1, 5, 7, 2], [1, 5, 2]]), common_prefix([[1, 5, 2]])
    ([1, 5], [1, 5])
    """
    columns = zip(*(ids[:-1] for ids in sequences), strict=False)
    return [column[0] for column in takewhile(lambda column: len(set(column)) == 1, columns)]


def token_ids(model: "SentenceTransformer", texts: list[str], task: str) -> list[list[int]]:
    """Ids as sentence-transformers passes them to the model, without padding; as documents when `task` is empty."""
    how = {"prompt": model.prompts[task], "task": "query"} if task else {"task": "document"}
    found: list[list[int]] = []
    for start in range(0, len(texts), 64):
        features = model.preprocess(texts[start : start + 64], **how)
        for ids, mask in zip(features["input_ids"], features["attention_mask"], strict=True):
            found.append(ids[mask.bool()].tolist())
    return found


@contextmanager
def _packed(backbone: Any) -> Iterator[Any]:
    """Context: the model uses packed attention; its own is restored on exit."""
    own = backbone.config._attn_implementation
    backbone.config._attn_implementation = PACKED
    try:
        yield backbone
    finally:
        backbone.config._attn_implementation = own
