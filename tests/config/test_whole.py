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


def test_a_phase_that_no_training_task_is_of_is_refused():
    phases = [{"kinds": ["sts"], "fraction": 0.5}, {"kinds": ["retrieval"], "fraction": 0.5}]
    found = problem(**{"train.phases": phases})
    assert "train.phases.0.kinds: no training task is of kind sts, so the phase would draw from all; there are" in found
    assert "train.phases.1" not in found


def problem(**changes: object) -> str:
    raw = small_parameters(**changes)
    with pytest.raises(UserError) as caught:
        parse_config(raw, "params.yaml")
    return str(caught.value)


def test_a_margin_s_scale_must_fit_the_reranker():
    assert parse_config(small_parameters(), "params").mine.scale("maxsim") == "raw"
    logits = parse_config(small_parameters(**{"score.reranker": "llm", "score.model": "student"}), "params")
    assert logits.mine.scale("llm") == "probability"
    assert "mine.margin_on: probability is the sigmoid of a logit" in problem(mine={"margin_on": "probability"})
    found = problem(mine={"margin_on": "relevance", "max_score": 4.0})
    assert "mine.max_score: 4 keeps no candidate or every one: mine.margin_on is relevance, from 0 to 1" in found


def test_the_judge_is_another_model():
    judge = {"reranker": "dense", "model": "dense_teacher"}
    assert "mine.judge.model: 'dense_teacher' made the candidates or their scores" in problem(mine={"judge": judge})
    assert "mine.judge.model: unknown model 'other'" in problem(mine={"judge": {**judge, "model": "other"}})
    assert "false_negatives: relabel needs a judge; set mine.judge" in problem(mine={"false_negatives": "relabel"})


def test_a_second_teacher_is_another_model_and_has_a_say():
    score = {**small_parameters()["score"], "second": {"reranker": "dense", "model": "dense_teacher"}}
    assert "score.second.model: 'dense_teacher' made the candidates or their scores" in problem(score=score)
    score["second"]["model"] = "student"
    judge = {"reranker": "dense", "model": "student"}
    found = problem(score=score, mine={"judge": judge})
    assert "mine.judge.model: 'student' made the candidates or their scores (score.second.model)" in found
    score["second"]["weight"] = 0.0
    assert "score.second.weight" in problem(score=score)


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
