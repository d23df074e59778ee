"""n of m negatives: seeded, anew each epoch, by score when asked."""

from collections import Counter

import pytest

from components.data.sampling import draw_negatives

SCORES = [0.9, 0.8, 0.5, 0.4, 0.1]


def test_the_same_seed_epoch_and_query_draw_the_same() -> None:
    draws = [draw_negatives("q1", SCORES, 2, seed=3, epoch=5) for _ in range(2)]
    assert draws[0] == draws[1]
    assert len(set(draws[0])) == 2
    assert draws[0] == sorted(draws[0])


def test_epochs_and_queries_differ() -> None:
    assert len({tuple(draw_negatives("q1", SCORES, 2, 3, epoch)) for epoch in range(20)}) > 4
    assert len({tuple(draw_negatives(f"q{i}", SCORES, 2, 3, 0)) for i in range(20)}) > 4


def test_all_of_them_when_there_are_no_more() -> None:
    assert draw_negatives("q1", SCORES, 9, 3, 0) == [0, 1, 2, 3, 4]
    assert draw_negatives("q1", [], 2, 3, 0) == []


def counts(by: str) -> Counter[int]:
    drawn: Counter[int] = Counter()
    for epoch in range(2000):
        drawn.update(draw_negatives("q1", SCORES, 1, 3, epoch, by, temperature=0.2))  # type: ignore[arg-type]
    return drawn


def test_uniform_draws_are_even() -> None:
    assert all(counts("uniform")[i] == pytest.approx(400, rel=0.2) for i in range(5))


def test_draws_by_score_follow_the_softmax() -> None:
    drawn = counts("score")
    assert drawn[0] / drawn[2] == pytest.approx(2.718**2, rel=0.35)  # exp((0.9 - 0.5) / 0.2)
    assert drawn[0] > drawn[1] > drawn[2]
