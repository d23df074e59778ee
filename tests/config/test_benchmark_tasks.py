"""What a training task takes from the benchmark task that it serves, and which one serves a benchmark task."""

import pytest
from pydantic import ValidationError

from components.config.benchmark_tasks import benchmark_tasks, serving_tasks
from tests.config.tasks import tasks_of


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


def test_sides_differ_freely_where_a_benchmark_task_has_one_sort_of_text():
    serving = {"kind": "clustering", "in_domain": ["BiorxivClusteringP2P.v2"]}
    assert tasks_of(a=serving, b={**serving, "symmetric": True})


def test_a_training_task_of_its_own_name_serves_a_benchmark_task_else_the_first():
    assert serving_tasks({"first": ["both", "second"], "second": ["both"]}) == {
        "first": "first",
        "second": "second",
        "both": "first",
    }
