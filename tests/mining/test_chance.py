"""A teacher that ranks by chance is logged; one that ranks every task so is refused."""

import numpy as np
import polars as pl
import pytest

from components.base.errors import UserError
from components.mining.chance import rank_positives, refuse_chance


def ranking(lift: float, queries: int = 40) -> object:
    random = np.random.default_rng(3)
    candidates = [(q, d, float(random.normal()), None) for q in range(queries) for d in range(10)]
    candidates += [(q, 99, 50.0, "same_label") for q in range(queries)]  # known relevant: does not count
    schema = ["query", "document", "score", "reason"]
    dev = pl.DataFrame(candidates, schema=schema, orient="row", infer_schema_length=None)
    positives = pl.DataFrame({"query": range(queries), "score": random.normal(lift, 1.0, queries), "relevance": 1.0})
    return rank_positives("facts", dev, positives)


def test_a_teacher_that_knows_the_task_is_not_by_chance() -> None:
    found = ranking(1.5)
    assert not found.by_chance
    assert 0.75 < found.mean < 0.95


def test_chance_is_told_with_the_numbers_and_refused_when_it_is_all_there_is() -> None:
    weak, strong = ranking(-0.3), ranking(1.5)
    assert weak.by_chance
    refuse_chance([weak, strong], "scores")
    with pytest.raises(
        UserError, match=r"^scores: the teacher .* no task better than chance.*facts: \d+ % \(\+-\d+\) over 40 dev"
    ):
        refuse_chance([weak], "scores")


def test_few_dev_queries_say_nothing() -> None:
    assert not ranking(-0.3, queries=5).by_chance
