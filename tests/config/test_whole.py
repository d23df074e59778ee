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


def test_in_batch_teacher_must_be_kept():
    soft = {"in_batch": {"teacher": "dense_teacher"}}
    with pytest.raises(UserError, match=r"in_batch\.teacher: add 'dense_teacher' to retrieve\.keep_vectors"):
        parse_config(small_parameters(**{"train.distillation": soft, "retrieve.keep_vectors": []}), "params.yaml")


FAQ = {"source": "fiqa", "kind": "retrieval", "instruction": "Find"}
SHOT = [{"query": "a", "response": "b"}]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"select_shots.max_shots": 3}, r"select_shots\.max_shots: 3 is over train\.shots\.max: 1"),
        (
            {"evaluate.shots": {"fiqa": SHOT}},
            r"evaluate\.shots\.fiqa: fiqa gets the shots chosen for training task fiqa",
        ),
        (
            {"evaluate.shots": {"ArguAna": SHOT}, "prepare.tasks.boolq.in_domain": ["ArguAna"]},
            r"evaluate\.shots\.ArguAna: .*training task boolq",
        ),
        (
            {"prepare.tasks": {"faq": {**FAQ, "train": 9}, "other": {**FAQ, "test": 9}}},
            r"no shots would reach evaluate\.benchmark: 'starter'",
        ),
        ({"evaluate.benchmark": "MTEB(eng, v2)"}, r"no shots would reach evaluate\.benchmark: 'MTEB\(eng, v2\)'"),
    ],
)
def test_shots_that_are_of_no_use_are_refused(changes, message):
    with pytest.raises(UserError, match=message):
        parse_config(small_parameters(**{"train.shots": {"max": 1, "share": 4}, **changes}), "params.yaml")


def test_as_many_shots_are_tried_as_training_draws_unless_fewer_are_stated():
    drawn = {"train.shots": {"max": 3, "share": 4}}
    assert parse_config(small_parameters(**drawn), "params.yaml").shots_tried == 3
    assert parse_config(small_parameters(**drawn, **{"select_shots.max_shots": 2}), "params.yaml").shots_tried == 2
