"""Norms, MLPs and residual sums as compiled functions give what transformers' own give, and touch fewer bytes."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch._dynamo.backends.registry import lookup_backend
from transformers import GraniteConfig, GraniteModel, MistralConfig, MistralModel

from benchmarks.layer_bytes import counted_mfu, layer_bytes
from components.model.fused import fuse_elementwise

SIZES = {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4, "num_key_value_heads": 2}
Compile = Callable[[Any], Any]


def mistral(dtype: torch.dtype = torch.float32) -> Any:
    torch.manual_seed(0)
    return MistralModel(MistralConfig(vocab_size=50, num_hidden_layers=2, **SIZES)).to(dtype)


def vectors_and_gradients(model: Any, length: int = 9) -> tuple[torch.Tensor, torch.Tensor]:
    embedded = torch.randn(1, length, 64, generator=torch.Generator().manual_seed(1)).to(model.dtype).requires_grad_()
    out = model(inputs_embeds=embedded, use_cache=False).last_hidden_state
    (out * torch.linspace(-1, 1, 64)).sum().backward()
    assert embedded.grad is not None
    return out.detach().float(), embedded.grad.float()


def counted(calls: Counter[str]) -> Compile:
    """Counts calls; Inductor's code needs a compiler and half a minute, and is torch's to test."""
    return lambda function: lambda *given: calls.update([function.__name__]) or function(*given)


def assert_equal(found: tuple[torch.Tensor, ...], expected: tuple[torch.Tensor, ...], tolerance: float) -> None:
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours - theirs).norm() / theirs.norm() <= tolerance


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.bfloat16, 2**-8)])
def test_they_are_equal_to_transformers_own(dtype: torch.dtype, tolerance: float) -> None:
    calls, fused = Counter[str](), mistral(dtype)
    fuse_elementwise(fused, counted(calls))
    assert_equal(vectors_and_gradients(fused), vectors_and_gradients(mistral(dtype)), tolerance)
    assert calls == {"rms_norm": 3, "add_norm": 2, "swiglu": 2, "apply_rotary_pos_emb": 2}


def test_checkpointing_runs_the_fused_layers_again() -> None:
    calls, fused = Counter[str](), mistral()
    fuse_elementwise(fused, counted(calls))
    fused.train().gradient_checkpointing_enable({"use_reentrant": False})
    assert_equal(vectors_and_gradients(fused), vectors_and_gradients(mistral()), 1e-6)
    assert calls == {"rms_norm": 5, "add_norm": 4, "swiglu": 4, "apply_rotary_pos_emb": 4}


def test_a_layer_that_scales_its_sums_keeps_them() -> None:
    def granite() -> Any:
        torch.manual_seed(0)
        return GraniteModel(GraniteConfig(vocab_size=50, num_hidden_layers=2, residual_multiplier=0.3, **SIZES))

    calls, fused = Counter[str](), granite()
    fuse_elementwise(fused, counted(calls))
    assert_equal(vectors_and_gradients(fused), vectors_and_gradients(granite()), 1e-6)
    assert calls == {"rms_norm": 5, "swiglu": 2, "apply_rotary_pos_emb": 2}


@pytest.mark.slow
def test_compiled_they_are_equal_and_have_one_graph_for_all_lengths() -> None:
    graphs: dict[str, list[list[torch.Size]]] = {}

    def traced(function: Any) -> Any:
        def keep(graph: Any, inputs: Any) -> Any:
            taken = [node.meta["example_value"] for node in graph.graph.find_nodes(op="placeholder")]
            shapes = [value.shape for value in taken if isinstance(value, torch.Tensor)]
            graphs.setdefault(function.__name__, []).append(shapes)
            return lookup_backend("aot_eager")(graph, inputs)

        return torch.compile(function, dynamic=True, backend=keep, fullgraph=True)

    fused = mistral(torch.bfloat16)
    fuse_elementwise(fused, traced)
    for length in (9, 12):
        expected = vectors_and_gradients(mistral(torch.bfloat16), length)
        assert_equal(vectors_and_gradients(fused, length), expected, 2**-8)
    torch._dynamo.reset()
    assert {name: len(shapes) for name, shapes in graphs.items()} == dict.fromkeys(graphs, 1)
    assert set(graphs) == {"rms_norm", "add_norm", "swiglu", "apply_rotary_pos_emb"}
    # Its kernel divides by the number of heads and their width: they are constants, the number of tokens is not.
    heads = [shape for shape in graphs["apply_rotary_pos_emb"][0] if len(shape) == 4]
    assert [[str(size).isdigit() for size in shape] for shape in heads] == [[True, True, False, True]] * 2


@pytest.mark.slow
def test_a_layer_touches_two_thirds_of_the_bytes() -> None:
    plain, fused = layer_bytes(fused=False), layer_bytes(fused=True)
    assert [ours / theirs <= 2 / 3 for ours, theirs in zip(fused, plain, strict=True)] == [True, True]
    forward, backward = fused
    assert forward <= 443_000  # the residual's sum in the norm's kernel saves 8 KB
    assert backward <= 767_000  # and 16


def test_counted_mfu() -> None:
    assert set(counted_mfu(0, 0).values()) == {1.0, 2 / 3}, "GradCache runs the forward pass twice and counts one"
    with_bytes = counted_mfu(443_000, 767_000)
    assert with_bytes["counted_mfu_encode"] > with_bytes["counted_mfu_documents"] > with_bytes["counted_mfu_gradcache"]
