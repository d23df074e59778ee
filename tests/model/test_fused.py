"""Norms and MLPs as compiled functions give what transformers' own give, and touch fewer bytes."""

from typing import Any

import pytest
import torch
from transformers import MistralConfig, MistralModel

from benchmarks.layer_bytes import layer_bytes
from components.model.fused import fuse_elementwise


def vectors_and_gradients(dtype: torch.dtype, fused: bool) -> tuple[torch.Tensor, torch.Tensor]:
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4, "num_key_value_heads": 2}
    torch.manual_seed(0)
    model: Any = MistralModel(MistralConfig(vocab_size=50, num_hidden_layers=2, **sizes)).to(dtype)
    calls = []

    def compile_(function: Any) -> Any:
        """Counts calls; Inductor's code needs a compiler and half a minute, and is torch's to test."""
        return lambda *given: calls.append(function.__name__) or function(*given)

    if fused:
        fuse_elementwise(model, compile_)
    embedded = torch.randn(1, 9, 64, generator=torch.Generator().manual_seed(1)).to(dtype).requires_grad_()
    out = model(inputs_embeds=embedded, use_cache=False).last_hidden_state
    (out * torch.linspace(-1, 1, 64)).sum().backward()
    if fused:
        counted = {name: calls.count(name) for name in ("rms_norm", "swiglu", "apply_rotary_pos_emb")}
        assert counted == {"rms_norm": 5, "swiglu": 2, "apply_rotary_pos_emb": 2}
    assert embedded.grad is not None
    return out.detach().float(), embedded.grad.float()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.bfloat16, 2**-8)])
def test_they_are_equal_to_transformers_own(dtype: torch.dtype, tolerance: float) -> None:
    plain, fused = (vectors_and_gradients(dtype, fused) for fused in (False, True))
    for expected, found in zip(plain, fused, strict=True):
        assert (found - expected).norm() / expected.norm() <= tolerance


def test_a_layer_touches_two_thirds_of_the_bytes() -> None:
    plain, fused = layer_bytes(fused=False), layer_bytes(fused=True)
    assert [ours / theirs <= 2 / 3 for ours, theirs in zip(fused, plain, strict=True)] == [True, True]
