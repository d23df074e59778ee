"""A task reads the source of its own name unless it names another."""

import pytest
from pydantic import ValidationError

from components.config import PrepareParams
from tests.config.tasks import tasks_of


def test_source_defaults_to_the_name_of_the_task():
    task = {"kind": "retrieval", "instruction": "Find the answer"}
    tasks = PrepareParams.model_validate({"tasks": {"faq": task, "more": {**task, "source": "faq"}}}).tasks
    assert {name: task.source for name, task in tasks.items()} == {"faq": "faq", "more": "faq"}


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
