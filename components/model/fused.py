"""RMSNorm, SwiGLU, RoPE, and the residual sum with its norm, as one compiled kernel each on a card; elsewhere a model
keeps its own.

transformers computes a norm in six passes over the hidden states, most of them in fp32. benchmarks/layer_bytes.py
counts what a layer reads and writes with and without. The MLP's residual sum stays apart: the norm after it is the next
layer's, and gradient checkpointing hands one tensor from layer to layer.
"""

import inspect
from collections.abc import Callable
from functools import cache, partial, wraps
from types import FunctionType, MethodType
from typing import Any

import torch
from torch.nn import functional

Function = Callable[..., Any]
Compile = Callable[[Function], Function]


@cache
def compile_function(function: Any, backend: Any = "inductor") -> Any:
    """`function` compiled for any length at first use. A function with too many graphs is an error.

    torch would run it eagerly from then on and say nothing, and the scores of a long row do not fit on a card. Sizes
    that are equal at the first call (heads, and blocks of a row) are not taken for one, which would need a graph more
    for each row where they differ.
    """
    torch._dynamo.config.recompile_limit = 32
    torch._dynamo.config.fail_on_recompile_limit_hit = True
    torch.fx.experimental._config.use_duck_shape = False
    return torch.compile(function, dynamic=True, backend=backend)


def fuse_elementwise(backbone: Any, compile_: Compile = compile_function) -> None:
    """Let the norms, gated MLPs, rotary embeddings and residual sums of `backbone` compute with compiled functions."""
    once = cache(compile_)  # all layers share a function's graphs
    norm, gate, layer_of = once(rms_norm), once(swiglu), cache(partial(_layer_class, add_norm=once(add_norm)))
    for module in backbone.modules():
        kind: Any = type(module)
        if _is_norm(module):
            module.forward = partial(_norm, module, norm)
        elif all(hasattr(module, name) for name in ("gate_proj", "up_proj", "down_proj")) and _is_silu(module):
            module.forward = partial(_gated, module, gate)
        elif hasattr(module, "q_proj"):
            _rotate_with(module, once)
        elif _is_norm(getattr(module, "post_attention_layernorm", None)) and _is_plain_layer(kind):
            module.__class__ = layer_of(kind)


_ROTATE = "apply_rotary_pos_emb"  # transformers' function; an attention's forward finds it among its globals


def _rotate_with(attention: Any, compile_: Compile) -> None:
    """Give this attention a forward whose `apply_rotary_pos_emb` is compiled; its class keeps its own.

    Nothing changes where that is no plain function: the `kernels` package may have put another in its place.
    """
    own = type(attention).forward
    rotate = getattr(own, "__globals__", {}).get(_ROTATE)
    if not isinstance(rotate, FunctionType):
        return
    seen = {**own.__globals__, _ROTATE: compile_(of_known_heads(rotate))}
    forward = FunctionType(own.__code__, seen, own.__name__, own.__defaults__, own.__closure__)
    forward.__kwdefaults__ = own.__kwdefaults__
    attention.forward = MethodType(forward, attention)


@cache
def of_known_heads(rotate: Function) -> Function:
    """`rotate` with the number of heads and their width as constants of its kernel: it divides by them for each value,
    and reads several values at once only where it knows that they lie together."""

    @wraps(rotate)
    def apply(query: torch.Tensor, key: torch.Tensor, *given: Any, **named: Any) -> Any:
        for heads in (query, key):  # [1, H, T, D]
            torch._dynamo.mark_static(heads, 1)
            torch._dynamo.mark_static(heads, 3)
        return rotate(query, key, *given, **named)

    return apply


def _is_plain_layer(kind: Any) -> bool:
    """Whether a layer computes what Mistral's does, as those of Llama and Qwen do: others scale the sum, or put a norm
    before it."""
    from transformers.models.mistral.modeling_mistral import MistralDecoderLayer

    own, known = (inspect.unwrap(layer.forward).__code__ for layer in (kind, MistralDecoderLayer))
    return (own.co_code, own.co_names, own.co_consts) == (known.co_code, known.co_names, known.co_consts)


def _layer_class(plain: type, add_norm: Function) -> type:
    """A class of the same layer with the attention's sum and the norm after it in one function.

    A class, since transformers wraps the forward of each class of layers with gradient checkpointing.
    """

    def forward(self: Any, hidden_states: torch.Tensor, **given: Any) -> torch.Tensor:
        attended, _ = self.self_attn(hidden_states=self.input_layernorm(hidden_states), **given)
        norm = self.post_attention_layernorm
        summed, normed = add_norm(hidden_states, attended, norm.weight, norm.variance_epsilon)
        result: torch.Tensor = summed + self.mlp(normed)
        return result

    return type(plain.__name__, (plain,), {"forward": forward})


def rms_norm(x: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
    """w x / sqrt(mean(x^2) + epsilon), computed in fp32 (Zhang and Sennrich 2019)."""
    wide = x.float()
    wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + epsilon)
    return weight * wide.to(x.dtype)


def add_norm(
    x: torch.Tensor, change: torch.Tensor, weight: torch.Tensor, epsilon: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """(x + change, the `rms_norm` of it)."""
    summed = x + change
    return summed, rms_norm(summed, weight, epsilon)


def swiglu(gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
    """silu(gate) * up (Shazeer 2020)."""
    return functional.silu(gate) * up


def _is_norm(module: Any) -> bool:
    return type(module).__name__.endswith("RMSNorm") and hasattr(module, "variance_epsilon")


def _norm(module: Any, norm: Function, x: torch.Tensor) -> torch.Tensor:
    normed: torch.Tensor = norm(x, module.weight, module.variance_epsilon)
    return normed


def _gated(module: Any, gate: Function, x: torch.Tensor) -> torch.Tensor:
    down: torch.Tensor = module.down_proj(gate(module.gate_proj(x), module.up_proj(x)))
    return down


def _is_silu(module: Any) -> bool:
    return "silu" in type(getattr(module, "act_fn", None)).__name__.lower()
