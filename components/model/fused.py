"""RMSNorm, SwiGLU and RoPE as one compiled kernel each on a card; elsewhere a model keeps its own.

transformers computes a norm in six passes over the hidden states, most of them in fp32. benchmarks/layer_bytes.py
counts what a layer reads and writes with and without. The residual's sum stays apart: fused with the norm after it, it
would save 8 KB a token of a layer of Mistral-7B, 2 %.
"""

from collections.abc import Callable
from functools import cache, partial
from types import FunctionType, MethodType
from typing import Any

import torch
from torch.nn import functional

Function = Callable[..., torch.Tensor]
Compile = Callable[[Function], Function]


@cache
def compile_function(function: Any) -> Any:
    """`function` compiled for any length at first use. A function with too many graphs is an error.

    torch would run it eagerly from then on and say nothing, and the scores of a long row do not fit on a card.
    """
    torch._dynamo.config.recompile_limit = 32
    torch._dynamo.config.fail_on_recompile_limit_hit = True
    return torch.compile(function, dynamic=True)


def fuse_elementwise(backbone: Any, compile_: Compile = compile_function) -> None:
    """Let the norms, gated MLPs and rotary embeddings of `backbone` compute with compiled functions."""
    once = cache(compile_)  # all layers share a function's graphs
    norm, gate = once(rms_norm), once(swiglu)
    for module in backbone.modules():
        if type(module).__name__.endswith("RMSNorm") and hasattr(module, "variance_epsilon"):
            module.forward = partial(_norm, module, norm)
        elif all(hasattr(module, name) for name in ("gate_proj", "up_proj", "down_proj")) and _is_silu(module):
            module.forward = partial(_gated, module, gate)
        elif hasattr(module, "q_proj"):
            _rotate_with(module, once)


_ROTATE = "apply_rotary_pos_emb"  # transformers' function; an attention's forward finds it among its globals


def _rotate_with(attention: Any, compile_: Compile) -> None:
    """Give this attention a forward whose `apply_rotary_pos_emb` is compiled; its class keeps its own.

    Nothing changes where that is no plain function: the `kernels` package may have put another in its place.
    """
    own = type(attention).forward
    rotate = getattr(own, "__globals__", {}).get(_ROTATE)
    if not isinstance(rotate, FunctionType):
        return
    seen = {**own.__globals__, _ROTATE: compile_(rotate)}
    forward = FunctionType(own.__code__, seen, own.__name__, own.__defaults__, own.__closure__)
    forward.__kwdefaults__ = own.__kwdefaults__
    attention.forward = MethodType(forward, attention)


def rms_norm(x: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
    """w x / sqrt(mean(x^2) + epsilon), computed in fp32 (Zhang and Sennrich 2019)."""
    wide = x.float()
    wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + epsilon)
    return weight * wide.to(x.dtype)


def swiglu(gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
    """silu(gate) * up (Shazeer 2020)."""
    return functional.silu(gate) * up


def _norm(module: Any, norm: Function, x: torch.Tensor) -> torch.Tensor:
    return norm(x, module.weight, module.variance_epsilon)


def _gated(module: Any, gate: Function, x: torch.Tensor) -> torch.Tensor:
    down: torch.Tensor = module.down_proj(gate(module.gate_proj(x), module.up_proj(x)))
    return down


def _is_silu(module: Any) -> bool:
    return "silu" in type(getattr(module, "act_fn", None)).__name__.lower()
