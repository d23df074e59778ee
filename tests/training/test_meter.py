"""The rate that MFU is measured against."""

import pytest
import torch

from components.training.meter import matmul_rate


def test_the_reference_is_a_product_of_random_numbers_that_are_not_trainings(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    product = torch.Tensor.__matmul__
    monkeypatch.setattr(torch.Tensor, "__matmul__", lambda one, other: seen.append(one) or product(one, other))
    before = torch.get_rng_state()
    assert matmul_rate(torch.device("cpu"), torch.bfloat16) > 0
    assert torch.equal(torch.get_rng_state(), before)
    assert seen[0].dtype == torch.bfloat16
    assert seen[0].float().std() == pytest.approx(1, abs=0.01)  # a card multiplies equal numbers faster
