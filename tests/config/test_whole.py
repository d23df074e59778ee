"""Checks that need more than one section: all that fail are named."""

import pytest

from components.base.errors import UserError
from components.config import parse_config
from tests.samples import small_parameters


def test_every_failed_check_is_named():
    changes = {"train.query_tokens": 999, "retrieve.keep_vectors": ["nobody"], "prepare.tasks.fiqa.source": "nowhere"}
    with pytest.raises(UserError) as caught:
        parse_config(small_parameters(**changes), "params.yaml")
    assert [line.split(": ")[1] for line in str(caught.value).splitlines()] == [
        "train.query_tokens",
        "prepare.tasks.fiqa.source",
        "retrieve.keep_vectors",
    ]


@pytest.mark.parametrize("change", [{"suspicious_action": "drop"}, {"false_negatives": "relabel"}])
def test_drawn_queries_need_a_number_of_examples_that_mining_does_not_change(change):
    judge = {"reranker": "dense", "model": "student"}
    mine = {f"mine.{name}": value for name, value in {**change, "judge": judge}.items()}
    with pytest.raises(
        UserError, match=rf"score\.queries: drawn .* mine\.{next(iter(change))}: .* set score\.queries: all"
    ):
        parse_config(small_parameters(**mine), "params.yaml")
    parse_config(small_parameters(**mine, **{"score.queries": "all"}), "params.yaml")


def test_in_batch_teacher_must_be_kept():
    soft = {"in_batch": {"teacher": "dense_teacher"}}
    with pytest.raises(UserError, match=r"in_batch\.teacher: add 'dense_teacher' to retrieve\.keep_vectors"):
        parse_config(small_parameters(**{"train.distillation": soft, "retrieve.keep_vectors": []}), "params.yaml")
    guided = small_parameters(**{"train.guide": {"teacher": "dense_teacher"}, "retrieve.keep_vectors": []})
    with pytest.raises(UserError, match=r"train\.guide\.teacher: add 'dense_teacher'"):
        parse_config(guided, "params.yaml")
