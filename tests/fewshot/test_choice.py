"""Fewer shots win unless more are better by more than one standard error of the paired difference."""

import numpy as np

from components.fewshot.choice import Tried, choose, curve

BASE = np.linspace(0.2, 0.8, 50)
WOBBLE = np.where(np.arange(50) % 2, 0.1, -0.1)


def test_a_clear_gain_wins() -> None:
    tried = [Tried("none", 0, BASE), Tried("diverse", 1, BASE + 0.1), Tried("diverse", 2, BASE + 0.1)]
    assert choose(tried) is tried[1]


def test_a_gain_within_the_noise_of_the_difference_does_not() -> None:
    tried = [Tried("none", 0, BASE), Tried("diverse", 1, BASE + WOBBLE + 0.005)]
    assert choose(tried).shots == 0


def test_the_noise_is_that_of_the_difference_not_of_the_scores() -> None:
    small = Tried("diverse", 1, BASE + 0.02)
    assert small.standard_error > 0.02
    assert choose([Tried("none", 0, BASE), small]) is small


def test_shots_that_hurt_are_not_taken() -> None:
    assert choose([Tried("none", 0, BASE), Tried("random", 3, BASE - 0.05)]).shots == 0


def test_among_equally_many_shots_the_better_strategy_wins() -> None:
    tried = [Tried("none", 0, BASE), Tried("random", 1, BASE + 0.2), Tried("hard", 1, BASE + 0.201)]
    assert choose(tried).strategy == "hard"


def test_curve_starts_without_shots() -> None:
    tried = [Tried("none", 0, BASE), Tried("hard", 1, BASE), Tried("random", 1, BASE + 0.1)]
    assert curve(tried, "random") == {0: 0.5, 1: 0.6}
