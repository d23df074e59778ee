"""Shots are taken where they help, and in at most 5 % of the tasks where they do nothing."""

import numpy as np
import pytest

from benchmarks.shot_choice import simulate
from components.fewshot.choice import LEVEL, Tried, adjusted_p_values, choose, curve

BASE = np.linspace(0.2, 0.8, 50)
WOBBLE = np.where(np.arange(50) % 2, 0.1, -0.1)


def test_a_clear_gain_wins_with_the_fewest_shots() -> None:
    tried = [Tried("none", 0, BASE), Tried("diverse", 1, BASE + 0.1), Tried("diverse", 2, BASE + 0.1)]
    found = choose(tried, 0)
    assert found.taken is tried[1]
    assert found.p_values[0] == 1
    assert found.p_value < 0.001


def test_a_gain_within_the_noise_of_the_difference_does_not() -> None:
    tried = [Tried("none", 0, BASE), Tried("diverse", 1, BASE + WOBBLE + 0.005)]
    assert choose(tried, 0).taken.shots == 0


def test_the_noise_is_that_of_the_difference_not_of_the_scores() -> None:
    small = Tried("diverse", 1, BASE + 0.02)
    assert small.standard_error > 0.02
    assert choose([Tried("none", 0, BASE), small], 0).taken is small


def test_shots_that_hurt_or_change_nothing_are_not_taken() -> None:
    zero = Tried("none", 0, BASE)
    assert choose([zero, Tried("random", 3, BASE - 0.05)], 0).taken is zero
    assert choose([zero, Tried("random", 3, BASE)], 0).p_values == [1, 1]


def test_nothing_to_try() -> None:
    zero = Tried("none", 0, BASE)
    assert choose([zero], 0).taken is zero


def test_among_equally_many_shots_the_better_strategy_wins() -> None:
    tried = [Tried("none", 0, BASE), Tried("random", 1, BASE + 0.2), Tried("hard", 1, BASE + 0.201)]
    assert choose(tried, 0).taken.strategy == "hard"


def test_the_same_gain_counts_less_the_more_prompts_were_tried() -> None:
    random = np.random.default_rng(0)
    differences = random.normal(size=(30, 40))
    differences[0] += 0.35
    alone, among = adjusted_p_values(differences[:1], 0)[0], adjusted_p_values(differences, 0)[0]
    assert alone < LEVEL < among


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ndcg_at_10", "accuracy"])
def test_at_most_one_task_in_twenty_gets_shots_that_do_nothing(kind: str) -> None:
    """10 correlated prompts; the one-standard-error rule takes shots in about 40 %."""
    null = simulate(kind, 50, 0.0, 200, seed=7)
    assert null["taken"] <= 0.05
    assert null["one_standard_error"] > 0.3
    assert simulate(kind, 100, 1.0, 20, seed=8)["taken"] > 0.9, "and a large gain is not missed"


def test_curve_starts_without_shots() -> None:
    tried = [Tried("none", 0, BASE), Tried("hard", 1, BASE), Tried("random", 1, BASE + 0.1)]
    assert curve(tried, "random") == {0: 0.5, 1: 0.6}
