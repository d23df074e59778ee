"""A task reads the source of its own name unless it names another."""

from components.config import PrepareParams


def test_source_defaults_to_the_name_of_the_task():
    task = {"kind": "retrieval", "instruction": "Find the answer"}
    tasks = PrepareParams.model_validate({"tasks": {"faq": task, "more": {**task, "source": "faq"}}}).tasks
    assert {name: task.source for name, task in tasks.items()} == {"faq": "faq", "more": "faq"}
