"""Draws: uniform without repetition, and no more of them than are asked for."""

import itertools
from collections import Counter

import numpy as np
import pytest

from components.contracts.schedule import keyed_random
from components.training.draws import in_random_order


def test_every_order_is_as_likely() -> None:
    counts = Counter(tuple(in_random_order(keyed_random(0, key), 4)) for key in range(4800))
    assert len(counts) == 24
    chi_square = sum((count - 200) ** 2 / 200 for count in counts.values())
    assert chi_square < 44.2  # 99.5 % of 23 degrees of freedom


@pytest.mark.parametrize("size", [0, 1, 7])
def test_each_number_comes_once(size: int) -> None:
    assert sorted(in_random_order(keyed_random(3), size)) == list(range(size))


def test_a_large_pool_costs_only_what_is_taken() -> None:
    class Counting:
        def __init__(self) -> None:
            self.draws, self.real = 0, np.random.default_rng(0)

        def integers(self, low: int, high: int) -> int:
            self.draws += 1
            return int(self.real.integers(low, high))

    draw = Counting()
    taken = list(itertools.islice(in_random_order(draw, 10**12), 5))  # type: ignore[arg-type]
    assert len(set(taken)) == draw.draws == 5
