"""LoRA in one function: peft's values and gradients, its dropout, and its own forward wherever ours does not apply."""

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch.utils.checkpoint import checkpoint

from components.training.lora_linear import dropout_mask, fuse_lora

X = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(2))


def lora_layer(dtype: torch.dtype = torch.float32, fused: bool = True, dropout: float = 0.0, bias: bool = False):
    torch.manual_seed(0)
    base = torch.nn.Sequential(torch.nn.Linear(8, 6, bias=bias)).to(dtype)
    config = LoraConfig(r=3, lora_alpha=12, lora_dropout=dropout, target_modules=["0"], init_lora_weights=False)
    model = get_peft_model(base, config, autocast_adapter_dtype=False).train()
    if fused:
        fuse_lora(model)
    return model, model.get_base_model()[0]


def outcome(layer, x: torch.Tensor, run=None) -> list[torch.Tensor]:
    """The layer's output and the gradients of x, A and B."""
    x = x.clone().requires_grad_()
    y = (run or layer)(x)
    (y * torch.randn(y.shape, generator=torch.Generator().manual_seed(3)).to(y.dtype)).sum().backward()
    assert layer.base_layer.weight.grad is None
    gradients = [x.grad, layer.lora_A["default"].weight.grad, layer.lora_B["default"].weight.grad]
    layer.zero_grad()
    return [y.detach(), *gradients]


def close(found: list[torch.Tensor], expected: list[torch.Tensor], within: float) -> bool:
    pairs = list(zip(found, expected, strict=True))
    return all((a - b).norm() <= within * b.norm() and a.dtype == b.dtype for a, b in pairs)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("dtype", "within"), [(torch.float32, 1e-6), (torch.bfloat16, 0.02)])
def test_values_and_gradients_are_those_of_peft(dtype, within, bias):
    found, expected = (outcome(lora_layer(dtype, fused, bias=bias)[1], X.to(dtype)) for fused in (True, False))
    assert close(found, expected, within)


def test_dropout_falls_on_the_adapter_alone_and_its_gradients_know_the_mask():
    _, layer = lora_layer(dropout=0.4)
    torch.manual_seed(5)
    found = outcome(layer, X)
    torch.manual_seed(5)
    kept = dropout_mask(X, 0.4)
    _, plain = lora_layer(fused=False)

    def by_hand(x):
        return plain.base_layer(x) + 4 * plain.lora_B["default"](plain.lora_A["default"](x * kept))

    assert close(found, outcome(plain, X, by_hand), 1e-6)
    assert not torch.equal(found[0], outcome(layer, X)[0])  # the next draw is another


def test_a_mask_keeps_the_mean_and_drops_the_stated_share_of_every_column():
    torch.manual_seed(0)
    kept = dropout_mask(torch.ones(4001, 99), 0.1)  # not a multiple of four
    assert kept.unique().tolist() == pytest.approx([0, 1 / 0.9], rel=1e-4)
    assert float(kept.mean()) == pytest.approx(1, abs=0.003)
    lanes = (kept.flatten()[: 4001 * 99 // 4 * 4].view(-1, 4) == 0).float().mean(0)
    assert torch.allclose(lanes, torch.full((4,), 0.1), atol=0.005)


def test_evaluation_has_no_dropout_and_a_checkpoint_replays_it():
    _, layer = lora_layer(dropout=0.4)
    torch.manual_seed(5)
    whole = outcome(layer, X)
    torch.manual_seed(5)
    replayed = outcome(layer, X, lambda x: checkpoint(layer, x, use_reentrant=False))
    assert all(torch.equal(*pair) for pair in zip(whole, replayed, strict=True))
    layer.eval()
    assert torch.allclose(layer(X), lora_layer(fused=False)[1](X), atol=1e-6)


def test_a_merged_or_disabled_adapter_does_what_peft_does():
    model, layer = lora_layer()
    trained = layer(X)
    with model.disable_adapter():
        assert torch.equal(layer(X), layer.base_layer(X))
    assert not torch.allclose(trained, layer.base_layer(X))
    model.merge_adapter()
    assert torch.allclose(layer(X), trained, atol=1e-5)


def test_the_trainer_uses_it(make_trainer):
    layer = make_trainer().model.get_base_model().layers[0].mlp.gate_proj
    assert type(layer(torch.randn(1, 3, layer.in_features)).grad_fn).__name__ == "_LoraLinearBackward"
