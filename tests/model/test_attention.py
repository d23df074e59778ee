"""Each form of attention over a packed row against the dense mask, and the kernels of cards."""

import json
import subprocess
import sys

import pytest
import torch

from components.model.attention import blocked_attention, flex_attention_over, flex_options
from components.model.packing import pack
from tests.model.flex_kernels import CARDS
from tests.model.rows import PREFIX, SEQUENCES, joined
from tests.samples import ROOT

ROWS = {
    "prefix": lambda: pack(PREFIX, SEQUENCES),
    "documents": lambda: pack([], SEQUENCES),
    "bidirectional": lambda: pack([], SEQUENCES, causal=False),
    "joined": joined,
}


@pytest.mark.slow
@pytest.mark.parametrize("make", ROWS.values(), ids=ROWS)
def test_both_attentions_equal_the_dense_mask(make):
    from torch.nn.attention.flex_attention import flex_attention

    row = make()
    query, key, value = torch.randn(1, 4, row.tokens, 16), *torch.randn(2, 1, 2, row.tokens, 16)
    expected = torch.nn.functional.scaled_dot_product_attention(
        query, key, value, attn_mask=row.dense_mask(), scale=0.25, enable_gqa=True
    ).transpose(1, 2)
    assert torch.allclose(blocked_attention(row, query, key, value, 0.25), expected, atol=1e-5)
    with torch.no_grad():
        assert torch.allclose(blocked_attention(row, query, key, value, 0.25), expected, atol=1e-5)
    assert torch.allclose(flex_attention_over(row, query, key, value, 0.25, flex_attention), expected, atol=1e-5)
    # As the projections give them: the result goes into the next one without a copy.
    of_tokens = [x.transpose(1, 2).contiguous().transpose(1, 2) for x in (query, key, value)]
    found = flex_attention_over(row, *of_tokens, 0.25, flex_attention)
    assert torch.allclose(found, expected, atol=1e-5)
    assert found.is_contiguous()


@pytest.mark.parametrize("name", ["prefix", "documents", "joined"])
def test_blocked_attention_has_the_gradients_of_the_dense_mask(name):
    row = ROWS[name]()
    inputs = [torch.randn(1, heads, row.tokens, 16, requires_grad=True) for heads in (4, 2, 2)]
    weights = torch.randn(1, row.tokens, 4, 16)
    found = torch.autograd.grad((blocked_attention(row, *inputs, 0.25) * weights).sum(), inputs)
    dense = torch.nn.functional.scaled_dot_product_attention(
        *inputs, attn_mask=row.dense_mask(), scale=0.25, enable_gqa=True
    )
    for one, other in zip(found, torch.autograd.grad((dense.transpose(1, 2) * weights).sum(), inputs), strict=True):
        assert (one - other).norm() / other.norm() < 1e-5


@pytest.mark.parametrize("make", ROWS.values(), ids=ROWS)
def test_attention_written_out_for_bf16_equals_fp32_and_has_its_gradients(make):
    row = make()
    exact = [torch.randn(1, heads, row.tokens, 16).bfloat16().float().requires_grad_() for heads in (4, 2, 2)]
    half = [x.detach().bfloat16().requires_grad_() for x in exact]
    weights = torch.randn(1, row.tokens, 4, 16)
    for inputs in (exact, half):
        (blocked_attention(row, *inputs, 0.25).float() * weights).sum().backward()
    assert torch.allclose(blocked_attention(row, *half, 0.25).float(), blocked_attention(row, *exact, 0.25), atol=0.03)
    for one, other in zip(half, exact, strict=True):
        assert (one.grad.float() - other.grad).norm() / other.grad.norm() < 0.02


SPARE = 4 * 1024


@pytest.mark.slow
@pytest.mark.usefixtures("warm_start")
def test_kernels_compiled_for_four_architectures_fit_with_room() -> None:
    command = [sys.executable, "-m", "tests.model.flex_kernels", *CARDS]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr[-2000:]
    needs = json.loads(done.stdout)
    sides = {
        f"{name} {side}" for name in ("flex", "norm", "residual", "gate", "rope") for side in ("forward", "backward")
    }
    assert {kind for found in needs.values() for kind in found} == sides
    spare = {
        (name, kind): CARDS[name].shared_memory - number
        for name, found in needs.items()
        for kind, number in found.items()
    }
    assert min(spare.values()) >= SPARE, spare


def test_only_cards_of_little_shared_memory_get_fewer_stages() -> None:
    chosen = {name: flex_options(card.shared_memory) for name, card in CARDS.items()}
    assert chosen == {"sm_80": None, "sm_86": {"fwd_num_stages": 2}, "sm_89": {"fwd_num_stages": 2}, "sm_90": None}
