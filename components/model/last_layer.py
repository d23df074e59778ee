"""The last layer's attention and MLP at the tokens that are read, and at no other.

Last-token pooling reads one token of a sequence. In the last layer, other tokens matter by their key and value alone:
their attention and MLP (a seventh of a 6-layer model's work, a fortieth of Mistral-7B's) change neither a vector nor a
gradient. The model's forward takes the tokens as a keyword (`model(..., row=row, read_at=row.last)`).
"""

from typing import Any

import torch


def narrow_last_layer(backbone: Any) -> None:
    """Let `backbone` take `read_at`, int64 [N]: `last_hidden_state` is right at these tokens only.

    Without the keyword the model computes what it always did. The hooks keep to the layer that they belong to, so
    gradient checkpointing, which runs the layer again later, sees the same tokens again.
    """
    last = backbone.layers[-1]
    if hasattr(last, "mlp"):  # a mixture of experts may name it otherwise: it computes all tokens then
        _ReadAt(last.self_attn, last.mlp)


class _ReadAt:
    def __init__(self, attention: torch.nn.Module, mlp: torch.nn.Module) -> None:
        self.index: torch.Tensor | None = None
        self.shape = torch.Size()
        attention.register_forward_pre_hook(self._note, with_kwargs=True)
        mlp.register_forward_pre_hook(self._narrow)
        mlp.register_forward_hook(self._widen)

    def _note(self, _: torch.nn.Module, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        self.index = kwargs.get("read_at")
        return args, {**kwargs, "queries_at": self.index}  # every layer is given read_at; only the last may heed it

    def _narrow(self, _: torch.nn.Module, args: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
        (hidden,) = args  # [1, T, dim]
        self.shape = hidden.shape
        return args if self.index is None else (hidden.index_select(1, self.index),)

    def _widen(self, _: torch.nn.Module, args: Any, output: torch.Tensor) -> torch.Tensor:
        if self.index is None:
            return output
        return output.new_zeros(self.shape).index_copy(1, self.index, output)
