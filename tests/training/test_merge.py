"""Adapters are merged in the space of their updates, for any factors."""

import math
from collections.abc import Sequence

import pytest
import torch

from components.training.merge import coefficients, merge_adapters

A, B = "layer.lora_A.default.weight", "layer.lora_B.default.weight"


def adapters(number: int, out: int = 9, width: int = 7, rank: int = 2, seed: int = 0) -> list[dict[str, torch.Tensor]]:
    draw = torch.Generator().manual_seed(seed)
    return [
        {A: torch.randn(rank, width, generator=draw), B: torch.randn(out, rank, generator=draw)} for _ in range(number)
    ]


def update(weights: dict[str, torch.Tensor]) -> torch.Tensor:
    return (weights[B] @ weights[A]).double()


def padded(weights: dict[str, torch.Tensor], rank: int) -> dict[str, torch.Tensor]:
    """The same update, written with a larger rank."""
    more = rank - len(weights[A])
    return {
        A: torch.cat([weights[A], torch.zeros(more, weights[A].shape[1])]),
        B: torch.cat([weights[B], torch.zeros(len(weights[B]), more)], dim=1),
    }


def test_the_average_is_that_of_the_updates() -> None:
    own = [padded(one, 4) for one in adapters(2)]
    merged = merge_adapters(own, [0.25, 0.75], "average")
    expected = 0.25 * update(own[0]) + 0.75 * update(own[1])
    torch.testing.assert_close(update(merged.weights), expected, atol=1e-5, rtol=1e-5)
    assert merged.error == pytest.approx(0, abs=1e-6)  # rank 2 + 2 fits in 4
    of_factors = {name: (own[0][name] + own[1][name]) / 2 for name in own[0]}
    assert (update(of_factors) - (update(own[0]) + update(own[1])) / 2).norm() > 1


@pytest.mark.parametrize("method", ["average", "slerp"])
def test_other_factors_of_the_same_update_merge_to_the_same(method: str) -> None:
    """B R, R^-1 A: the mean of the factors would change with R."""
    first, second = adapters(2)
    turn = torch.tensor([[2.0, 1.0], [0.5, -3.0]])
    turned = {A: torch.linalg.inv(turn) @ second[A], B: second[B] @ turn}
    here, there = (merge_adapters([first, other], [0.5, 0.5], method) for other in (second, turned))  # type: ignore[arg-type]
    torch.testing.assert_close(update(here.weights), update(there.weights), atol=1e-5, rtol=1e-5)
    assert here.error == pytest.approx(there.error, abs=1e-6)


def test_what_the_rank_cuts_is_the_least_possible_and_told() -> None:
    own = adapters(3)
    merged = merge_adapters(own, [1 / 3] * 3, "average")
    whole = torch.stack([update(one) for one in own]).mean(0)
    values = torch.linalg.svdvals(whole)
    least = float(values[2:].square().sum().sqrt() / values.square().sum().sqrt())
    assert 0.1 < least < 1
    assert merged.error == pytest.approx(least, abs=1e-6)
    assert float((update(merged.weights) - whole).norm() / whole.norm()) == pytest.approx(least, abs=1e-5)
    assert {name: weight.shape for name, weight in merged.weights.items()} == {n: w.shape for n, w in own[0].items()}


def test_slerp_of_two_is_shoemakes_and_keeps_the_length() -> None:
    a, b = (padded(one, 4) for one in adapters(2))
    x, y = update(a) / update(a).norm(), update(b) / update(b).norm()
    angle = math.acos(float((x * y).sum()))
    merged = update(merge_adapters([a, b], [0.7, 0.3], "slerp").weights)
    direction = (math.sin(0.7 * angle) * x + math.sin(0.3 * angle) * y) / math.sin(angle)
    length = 0.7 * float(update(a).norm()) + 0.3 * float(update(b).norm())
    torch.testing.assert_close(merged, direction * length, atol=1e-5, rtol=1e-5)
    mean = update(merge_adapters([a, b], [0.7, 0.3], "average").weights)
    assert merged.norm() > 1.1 * mean.norm()


def test_slerp_of_several_is_the_spherical_mean_in_any_order() -> None:
    draw = torch.Generator().manual_seed(1)
    vectors = torch.nn.functional.normalize(torch.randn(4, 6, generator=draw).double().abs(), dim=1)
    shares = [0.1, 0.2, 0.3, 0.4]
    mean = coefficients(vectors @ vectors.T, shares, "slerp") @ vectors
    assert float(mean.norm()) == pytest.approx(1, abs=1e-9)
    cosines = vectors @ mean
    logs = (cosines.arccos() / (1 - cosines**2).sqrt())[:, None] * (vectors - cosines[:, None] * mean)
    assert (
        float((torch.tensor(shares, dtype=torch.float64) @ logs).norm()) < 1e-6
    )  # the gradient of sum_i w_i angle^2 is 0 there
    other = vectors.flip(0)
    again = coefficients(other @ other.T, shares[::-1], "slerp") @ other
    torch.testing.assert_close(mean, again, atol=1e-9, rtol=0)


@pytest.mark.parametrize(
    "vectors", [[[1.0, 0.0], [-1.0, 0.0]], [[0.0, 0.0], [3.0, 4.0]]], ids=["opposite", "one is zero"]
)
def test_slerp_without_a_direction_is_the_average(vectors: Sequence[Sequence[float]]) -> None:
    made = torch.tensor(vectors, dtype=torch.float64)
    assert coefficients(made @ made.T, [0.5, 0.5], "slerp").tolist() == [0.5, 0.5]


@pytest.mark.parametrize("method", ["average", "slerp"])
def test_an_adapter_merged_with_itself_stays(method: str) -> None:
    (own,) = adapters(1)
    rows = {"embed_tokens.token_adapter.trainable_tokens_delta.default": torch.randn(3, 5)}
    merged = merge_adapters([own | rows] * 3, [0.2, 0.3, 0.5], method)  # type: ignore[arg-type]
    torch.testing.assert_close(update(merged.weights), update(own), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close({name: merged.weights[name] for name in rows}, rows)
    assert merged.error == pytest.approx(0, abs=1e-6)
