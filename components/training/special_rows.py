"""Train the special tokens' embedding rows without a copy of the whole embedding matrix.

peft writes the trained rows into a copy of the embedding matrix at every forward, and its gradient has the same size
(57 MB each for SmolLM2, 262 MB for Mistral-7B). Here the trained rows replace the looked-up vectors of their tokens;
the result is the same bit for bit.
"""

from functools import partial
from typing import Any

import torch


def train_rows_in_place(model: Any) -> None:
    """Make peft's trainable-token layers in `model` look up rows without building the merged matrix."""
    from peft.tuners.trainable_tokens import TrainableTokensLayer

    for module in model.modules():
        if isinstance(module, TrainableTokensLayer) and type(module.base_layer) is torch.nn.Embedding:
            layer: Any = module
            (name,) = layer.active_adapters
            numbers = torch.tensor(layer.token_indices[name], device=layer.base_layer.weight.device)
            layer.forward = partial(_embed, layer, numbers)  # on the device once: a copy a row would wait for it


def _embed(layer: Any, numbers: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """int64 [..., T] -> [..., T, dim]; numbers: int64 [rows], the trained tokens."""
    if layer.merged or layer.disable_adapters:
        return type(layer).forward(layer, ids)
    (name,) = layer.active_adapters
    embedded = layer.base_layer(ids)
    is_row = ids[..., None] == numbers  # [..., T, rows]
    rows = layer.trainable_tokens_delta[name].to(embedded.dtype)
    return torch.where(is_row.any(-1, keepdim=True), is_row.to(rows.dtype) @ rows, embedded)
