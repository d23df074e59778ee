"""A task reads the source of its own name unless it names another."""

import pytest
from pydantic import ValidationError

from components.config import PrepareParams, benchmark_tasks


def test_source_defaults_to_the_name_of_the_task():
    task = {"kind": "retrieval", "instruction": "Find the answer"}
    tasks = PrepareParams.model_validate({"tasks": {"faq": task, "more": {**task, "source": "faq"}}}).tasks
    assert {name: task.source for name, task in tasks.items()} == {"faq": "faq", "more": "faq"}


def tasks_of(**tasks):
    raw = {name: {"kind": "retrieval", "train": 10, **task} for name, task in tasks.items()}
    return PrepareParams.model_validate({"tasks": raw}).tasks


def test_what_a_task_leaves_out_is_that_of_the_benchmark_task_it_serves():
    tasks = tasks_of(
        ask={"in_domain": ["AskUbuntuDupQuestions"]},
        sts={"kind": "sts", "in_domain": ["STS12", "STSBenchmark"]},
        own={"in_domain": ["ArguAna"], "instruction": "Find"},
        texts={"kind": "clustering", "in_domain": ["MedrxivClusteringS2S.v2"]},
    )
    table = benchmark_tasks()
    assert {name: (task.instruction, task.symmetric) for name, task in tasks.items()} == {
        "ask": (table["AskUbuntuDupQuestions"].instruction, True),
        "sts": (table["STS12"].instruction, True),
        "own": ("Find", False),
        "texts": (table["MedrxivClusteringS2S.v2"].instruction, False),
    }


def test_a_task_that_serves_several_must_say_its_instruction():
    with pytest.raises(ValidationError, match=r"tasks\.fever\.instruction"):
        tasks_of(fever={"in_domain": ["FEVERHardNegatives", "ClimateFEVERHardNegatives"]})


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"instruction": "Retrieve"}, r"a and b both serve FiQA2018 .*'Find' and 'Retrieve'.*take FiQA2018 out"),
        ({"instruction": "Find", "symmetric": True}, r"a and b both serve FiQA2018 .*symmetric False and True"),
    ],
)
def test_two_training_tasks_must_not_ask_one_benchmark_task_differently(other, message):
    serving = {"in_domain": ["FiQA2018"], "instruction": "Find"}
    with pytest.raises(ValidationError, match=message):
        tasks_of(a=serving, b={**serving, **other})
    assert tasks_of(a=serving, b={**serving, **other, "train": 0})  # it has nothing to say: it is not trained


def test_sides_differ_freely_where_a_benchmark_task_has_one_sort_of_text():
    serving = {"kind": "clustering", "in_domain": ["BiorxivClusteringP2P.v2"]}
    assert tasks_of(a=serving, b={**serving, "symmetric": True})
