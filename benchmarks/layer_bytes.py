"""Bytes that a layer of Mistral-7B reads and writes for a token, with transformers' own norms and MLP and with ours.

    python -m benchmarks.layer_bytes [--json FILE]

Counted, not measured, on tensors without data: the inputs and outputs of every operation but views, attention and the
products with the base's weights, whose time is not that of memory. A compiled function counts as one operation: what it
takes, what it gives and what it saves. bf16 with LoRA of rank 64; forward, and backward as training runs it. On a card
attention also pads queries, keys and values to whole blocks: 24 KB more in the forward pass.

From the bytes, the MFU of an H100 as benchmarks/gpu.py defines it: against its own rate of large products, 0.7 of the
sheet's peak, and memory at 0.85 of the sheet's; both are what such cards usually reach. Attention, the products of the
adapter and the embedding are not counted, and nothing overlaps.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from functorch.compile import aot_function, make_boxed_func, min_cut_rematerialization_partition
from peft import LoraConfig, get_peft_model
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import AttentionInterface, MistralConfig, MistralModel

from components.model.backbone import PROJECTIONS
from components.model.fused import fuse_elementwise
from components.plan.devices import GPUS
from components.plan.shapes import KNOWN
from components.training.lora_linear import fuse_lora

PRODUCTS_PER_SECOND, BYTES_PER_SECOND = 0.7 * GPUS["H100"].flops, 0.85 * 3.35e12
TOKENS, RANK = 4096, 64  # of a row, of the adapter: its weights are read once a row
_PRODUCTS = {torch.ops.aten.mm.default, torch.ops.aten.addmm.default, torch.ops.aten.addmm_.default}
_FREE = {
    torch.ops.aten.detach.default,
    torch.ops.aten.empty.memory_format,
    torch.ops.aten.empty_like.default,
    torch.ops.aten._unsafe_view.default,
}


class Traffic(TorchDispatchMode):
    """Adds up what operations read and write; `paused` while a compiled function runs."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes, self.paused = 0, False

    def add(self, *values: Any) -> None:
        self.bytes += sum(x.numel() * x.element_size() for x in tree_leaves(values) if isinstance(x, torch.Tensor))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if self.paused or func.is_view or func in _FREE:
            return result
        if func in _PRODUCTS:
            matrices = [x for x in args if isinstance(x, torch.Tensor)]
            if min(size for x in matrices for size in x.shape) > RANK:
                return result  # a product with the base's weights
        self.add(args, kwargs, result)
        return result


def layer_bytes(fused: bool) -> tuple[float, float]:
    """(forward, backward) bytes a token of one layer: the difference of two layers and one."""
    two, one = (_model_bytes(layers, fused) for layers in (2, 1))
    return (two[0] - one[0]) / TOKENS, (two[1] - one[1]) / TOKENS


def _model_bytes(layers: int, fused: bool) -> tuple[int, int]:
    AttentionInterface.register("no_attention", _no_attention)
    config = MistralConfig(vocab_size=64, num_hidden_layers=layers, sliding_window=None)  # the other sizes are the 7B's
    config._attn_implementation = "no_attention"
    traffic = Traffic()
    with torch.device("meta"):
        backbone: Any = MistralModel(config)
        backbone = backbone.to(torch.bfloat16).requires_grad_(False)
        if fused:
            fuse_elementwise(backbone, lambda function: _as_one(function, traffic))
        model: Any = get_peft_model(backbone, LoraConfig(r=RANK, target_modules=list(PROJECTIONS)))
        fuse_lora(model)
        embedded = torch.empty(1, TOKENS, config.hidden_size, dtype=torch.bfloat16, requires_grad=True)
        with traffic:
            out = model(inputs_embeds=embedded, use_cache=False).last_hidden_state
            forward = traffic.bytes
            out.backward(torch.empty_like(out))
    return forward, traffic.bytes - forward


def counted_mfu(forward: float, backward: float) -> dict[str, float]:
    """MFU of encoding, of a training step and of a step with GradCache, which runs forward twice and counts one.

    Args:
        forward, backward: bytes a token of one layer.
    """
    student = KNOWN["mistralai/Mistral-7B-v0.1"]
    products = (
        2 * student.linear / student.layers / PRODUCTS_PER_SECOND
    )  # the base has no gradient: backward has as many
    ahead, back = (products + touched / BYTES_PER_SECOND for touched in (forward, backward))
    return {
        "counted_mfu_encode": products / ahead,
        "counted_mfu_documents": 2 * products / (ahead + back),
        "counted_mfu_gradcache": 2 * products / (2 * ahead + back),
    }


class _Nothing(torch.autograd.Function):
    """An attention that reads and writes nothing, for shapes and gradients."""

    @staticmethod
    def forward(ctx: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        ctx.like = query, key, value
        return torch.empty_like(query).transpose(1, 2)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(torch.empty_like(tensor) for tensor in ctx.like)


def _no_attention(
    module: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: Any, **_: Any
) -> tuple[torch.Tensor, None]:
    attended: torch.Tensor = _Nothing.apply(query, key, value)
    return attended, None


def _as_one(function: Callable[..., torch.Tensor], traffic: Traffic) -> Callable[..., torch.Tensor]:
    """`function` as Inductor fuses it: each of its two graphs is one operation."""

    def compiler(graph: Any, inputs: Any) -> Any:
        def run(*values: Any) -> Any:
            traffic.paused = True
            result = graph(*values)
            traffic.paused = False
            # What is handed on to the backward as it came in, or besides being the result, is not written once more.
            taken = {id(value) for value in values}
            traffic.add(values, [x for name, x in {id(x): x for x in tree_leaves(result)}.items() if name not in taken])
            return result

        return make_boxed_func(run)

    whole = aot_function(function, compiler, compiler, partition_fn=min_cut_rematerialization_partition)
    made: Callable[..., torch.Tensor] = whole
    return made


def main() -> None:
    """Count, print, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    figures: dict[str, float] = {}
    for name, fused in (("plain", False), ("fused", True)):
        forward, backward = layer_bytes(fused)
        figures |= {f"{name}_forward_kb": forward / 1000, f"{name}_backward_kb": backward / 1000}
    for side in ("forward", "backward"):
        figures[f"{side}_share"] = figures[f"fused_{side}_kb"] / figures[f"plain_{side}_kb"]
    figures |= counted_mfu(*(1000 * figures[f"fused_{side}_kb"] for side in ("forward", "backward")))
    for name, value in figures.items():
        print(f"{name:22} {value:9.3f}")
    if given.json:
        given.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
