"""Compute the last layer's attention and MLP only at the pooled tokens.

Last-token pooling reads one token per sequence. In the last layer, only the key and value of the other tokens matter:
their attention output and MLP (a seventh of a 6-layer model's work, a fortieth of Mistral-7B's) change neither a vector
nor a gradient. The model's forward takes the tokens as a keyword (`model(..., row=row, read_at=row.last)`).
"""

import threading
from typing import Any

import torch


class _Reading(threading.local):
    """`read_at` of the last layer's attention, kept for the MLP, whose forward takes no keywords.

    Thread-local, because Dask's and the planner's threads run one model concurrently.
    """

    at: torch.Tensor | None = None
    shape = torch.Size()


_reading = _Reading()


def narrow_last_layer(backbone: Any) -> None:
    """Let `backbone` take `read_at`, int64 [N]: `last_hidden_state` is correct at these tokens only.

    Without the keyword the model computes all tokens. The hooks keep their state per layer call, so gradient
    checkpointing, which runs the layer again later, uses the same tokens again.
    """
    last = backbone.layers[-1]
    if hasattr(last, "mlp"):  # a mixture of experts may use another name; then it computes all tokens
        last.self_attn.register_forward_pre_hook(_note, with_kwargs=True)
        last.mlp.register_forward_pre_hook(_narrow)
        last.mlp.register_forward_hook(_widen)


def _note(_: torch.nn.Module, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    _reading.at = kwargs.get("read_at")
    return args, {**kwargs, "queries_at": _reading.at}  # every layer gets read_at; only the last uses it


def _narrow(_: torch.nn.Module, args: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
    (hidden,) = args  # [1, T, dim]
    _reading.shape = hidden.shape
    return args if _reading.at is None else (hidden.index_select(1, _reading.at),)


def _widen(_: torch.nn.Module, args: Any, output: torch.Tensor) -> torch.Tensor:
    if _reading.at is None:
        return output
    return output.new_zeros(_reading.shape).index_copy(1, _reading.at, output)
