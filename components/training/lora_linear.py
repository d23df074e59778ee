"""Fused LoRA linear layer in one autograd function: y = x W^T + s drop(x) A^T B^T (Hu 2021, arXiv 2106.09685, eq. 3).

peft computes the two terms separately: scaling and sum are extra passes over [T, out], forward and backward, and
dropout stores a second copy of x. Here both are fused into the matrix products, and only the dropout mask is stored.
The frozen W gets no gradient. On a CPU drawing a mask costs more than a projection, so four elements share one 64-bit
draw.
"""

from functools import partial
from typing import Any

import torch
from torch.nn import functional


def fuse_lora(model: Any) -> None:
    """Make peft's LoRA layers over plain linear layers in `model` compute with `_LoraLinear`.

    Quantized layers keep peft's forward, as do layers that are merged, disabled or called in another precision.
    """
    from peft.tuners.lora import Linear

    for module in model.modules():
        if type(module) is Linear and type(module.base_layer) is torch.nn.Linear:
            layer: Any = module
            layer.forward = partial(_forward, layer)


def _forward(layer: Any, x: torch.Tensor) -> torch.Tensor:
    """[..., T, in] -> [..., T, out]."""
    base = layer.base_layer
    if layer.merged or layer.disable_adapters or x.dtype != base.weight.dtype:
        return type(layer).forward(layer, x)
    (name,) = layer.active_adapters
    dropout = layer.lora_dropout[name]
    rate = dropout.p if isinstance(dropout, torch.nn.Dropout) and dropout.training else 0.0
    kept = dropout_mask(x.flatten(0, -2), rate) if rate else None
    a, b = (part[name].weight.to(x.dtype) for part in (layer.lora_A, layer.lora_B))
    return _LoraLinear.apply(x, base.weight, base.bias, a, b, layer.scaling[name], kept)


def dropout_mask(x: torch.Tensor, rate: float) -> torch.Tensor:
    """Dropout multipliers for `x`: 0 with probability `rate` (to 1/131072), else 1 / (1 - that probability)."""
    if x.device.type != "cpu":
        return functional.dropout(torch.ones_like(x), rate)
    of_65536 = round(rate * 65536)
    draws = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
    lanes = draws.view(torch.int16)[: x.numel()].view(x.shape)
    return (lanes >= of_65536 - 32768).to(x.dtype).mul_(65536 / (65536 - of_65536))


class _LoraLinear(torch.autograd.Function):
    """x [..., in], W [out, in], its bias [out] or None, A [rank, in], B [out, rank], s, the mask [T, in] or None."""

    @staticmethod
    def forward(ctx: Any, x: Any, weight: Any, bias: Any, a: Any, b: Any, scaling: float, kept: Any) -> torch.Tensor:
        flat = x.flatten(0, -2)
        low = (flat if kept is None else flat * kept) @ a.T  # [T, rank]
        y = functional.linear(flat, weight, bias).addmm_(low, b.T, alpha=scaling)
        ctx.save_for_backward(flat, weight, a, b, low, kept)
        ctx.scaling, ctx.shape = scaling, x.shape
        return y.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        flat, weight, a, b, low, kept = ctx.saved_tensors
        y_gradient = gradients[0].flatten(0, -2)
        low_gradient = (y_gradient @ b).mul_(ctx.scaling)  # [T, rank]
        a_gradient = low_gradient.T @ (flat if kept is None else flat * kept)
        b_gradient = (y_gradient.T @ low).mul_(ctx.scaling)
        x_gradient = None
        if ctx.needs_input_grad[0]:
            x_gradient = y_gradient @ weight
            if kept is None:
                x_gradient.addmm_(low_gradient, a)
            else:
                x_gradient.addcmul_(low_gradient @ a, kept)
            x_gradient = x_gradient.view(ctx.shape)
        return x_gradient, None, None, a_gradient, b_gradient, None, None
