"""Trained special tokens: the vectors that peft's own layer gives, its gradients, and no copy of the matrix."""

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch.utils._python_dispatch import TorchDispatchMode

from components.training.special_rows import train_rows_in_place

IDS = torch.tensor([[3, 7, 1, 7, 0, 9]])
ROWS = [7, 9, 5]


def tokens_layer(dtype: torch.dtype, in_place: bool):
    torch.manual_seed(0)
    base = torch.nn.Sequential(torch.nn.Embedding(12, 8), torch.nn.Linear(8, 8)).to(dtype)
    model = get_peft_model(base, LoraConfig(target_modules=["1"], trainable_token_indices={"0": ROWS}))
    if in_place:
        train_rows_in_place(model)
    model.get_base_model()[0].token_adapter.trainable_tokens_delta["default"].data.add_(1)
    return model, model.get_base_model()[0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_vectors_and_gradients_are_those_of_peft(dtype):
    found = []
    for in_place in (True, False):
        _, layer = tokens_layer(dtype, in_place)
        vectors = layer(IDS)
        weights = torch.randn(vectors.shape, generator=torch.Generator().manual_seed(1)).to(dtype)
        (vectors * weights).sum().backward()
        found.append((vectors, layer.token_adapter.trainable_tokens_delta["default"].grad))
    assert torch.equal(found[0][0], found[1][0])
    assert torch.allclose(found[0][1], found[1][1], atol=1e-6 if dtype == torch.float32 else 0.02)
    assert not found[0][1][2].any()  # token 5 stands nowhere


def test_a_disabled_or_merged_adapter_does_what_peft_does():
    model, layer = tokens_layer(torch.float32, in_place=True)
    trained = layer(IDS)
    with model.disable_adapter():
        assert not torch.equal(layer(IDS), trained)
    layer.token_adapter.merge()
    assert torch.equal(layer(IDS), trained)


class _Made(TorchDispatchMode):
    """Notes the length of every tensor that an operation returns."""

    def __init__(self) -> None:
        super().__init__()
        self.lengths: list[int] = []

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        result = operation(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor) and result.dim():
            self.lengths.append(result.shape[0])
        return result


@pytest.mark.parametrize("in_place", [True, False])
def test_only_peft_makes_tensors_as_large_as_the_matrix(in_place):
    _, layer = tokens_layer(torch.float32, in_place)
    with _Made() as made:
        layer(IDS).sum().backward()
    assert made.lengths
    assert (12 in made.lengths) is not in_place
