"""Each strategy's order on a pool where the right answer is known."""

import numpy as np
import pytest

from components.data.shot_pool import Candidate
from components.fewshot.strategies import STRATEGIES, Evidence


def unit(*angles: float) -> np.ndarray:
    """Unit vectors in the plane, by degrees."""
    radians = np.deg2rad(angles)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)


def evidence(
    queries: np.ndarray, responses: np.ndarray | None = None, labels: list[str | None] | None = None
) -> Evidence:
    size = len(queries)
    named = labels or [None] * size
    pool = [Candidate(f"q{i}", f"d{i}", f"query {i}", f"response {i}", named[i]) for i in range(size)]
    return Evidence(pool, queries, queries if responses is None else responses, np.full(size, np.nan))


def test_diverse_starts_in_the_middle_and_goes_to_the_far_ends() -> None:
    assert STRATEGIES["diverse"](evidence(unit(0, 40, 45, 90)))[:3] == [2, 0, 3]


@pytest.mark.parametrize("name", ["random", "diverse", "hard"])
def test_order_holds_every_candidate_once(name: str) -> None:
    order = STRATEGIES[name](evidence(unit(0, 10, 20, 30, 40)))
    assert sorted(order) == [0, 1, 2, 3, 4]


def test_hard_prefers_the_smallest_margin_that_is_still_right() -> None:
    queries, responses = unit(0, 90, 200), unit(0, 50, 200)  # margins: large, small, and right by far
    wrong = evidence(np.concatenate([queries, unit(52)]), np.concatenate([responses, unit(150)]))
    order = STRATEGIES["hard"](wrong)
    assert order[-1] == 3
    assert order[0] == 1


def test_class_balanced_takes_one_of_each_label_in_turn_the_central_first() -> None:
    pool = evidence(unit(0, 10, 20, 90, 100), labels=["a", "a", "a", "b", "b"])
    assert STRATEGIES["class_balanced"](pool) == [1, 3, 0, 4, 2]


def test_class_balanced_has_nothing_to_say_without_labels() -> None:
    assert STRATEGIES["class_balanced"](evidence(unit(0, 10))) == []


def test_reranker_best_orders_by_score_and_skips_the_unscored() -> None:
    pool = evidence(unit(0, 10, 20))
    pool.scores[:] = [0.5, np.nan, 0.9]
    assert STRATEGIES["reranker_best"](pool) == [2, 0]


@pytest.mark.parametrize("name", sorted(STRATEGIES))
@pytest.mark.parametrize("labels", [[None], ["one"]])
def test_a_pool_of_one(name: str, labels: list[str | None]) -> None:
    assert STRATEGIES[name](evidence(unit(30), labels=labels)) in ([0], [])


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_a_pool_whose_texts_are_all_the_same(name: str) -> None:
    pool = evidence(unit(30, 30, 30), labels=["one"] * 3)
    assert sorted(STRATEGIES[name](pool)) in ([0, 1, 2], [])
