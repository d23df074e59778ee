"""A training task and the benchmark tasks it serves have one prompt; what reaches nothing is refused."""

from collections.abc import Callable
from pathlib import Path

import pytest

from components.base.errors import UserError
from components.benchmark.prompts import prompt_table
from components.benchmark.tasks import Benchmark, load_benchmark
from components.config import Config, ShotParams, load_config
from components.contracts.shots import Shot, TaskPrompt, TrainedPrompt, count_prompts
from tests.samples import ROOT

RECIPES = ("mistral-7b", "mistral-7b-8gpu", "mistral-7b-qlora-24gb")
SHOT = (Shot("an example", "its answer"),)


def recipe(name: str = "mistral-7b") -> Config:
    return load_config(ROOT / "recipes" / f"{name}.yaml")


def trained_prompts(config: Config) -> dict[str, TrainedPrompt]:
    """What select_shots writes when it finds shots for every training task, each with its own."""
    return {
        name: TrainedPrompt(TaskPrompt(task.instruction, task.symmetric, (Shot(name, "x"),)), tuple(task.in_domain))
        for name, task in config.prepare.tasks.items()
        if task.train
    }


@pytest.fixture(scope="module")
def mteb_tasks() -> Benchmark:
    return load_benchmark(recipe().evaluate, Path("unused"))


@pytest.mark.parametrize("name", RECIPES)
def test_every_in_domain_task_of_the_7b_recipes_has_the_shots_and_the_instruction_of_training(
    name: str, mteb_tasks: Benchmark
) -> None:
    config = recipe(name)
    trained = trained_prompts(config)
    table = prompt_table(mteb_tasks, trained, {})
    pairs = [(task, served) for task, params in config.prepare.tasks.items() for served in params.in_domain]
    assert len(pairs) == 23
    for task, served in pairs:
        one = table[served]
        assert one.prompt.instruction == config.prepare.tasks[task].instruction
        assert one.served_by in {own for own, other in pairs if other == served}
        assert one.prompt == trained[one.served_by].prompt
        assert one.shots_from == "selection"
    assert count_prompts(table) == {
        "tasks": 41,
        "served_by_a_training_task": 22,  # BiorxivClusteringP2P.v2 by two
        "shots_from_selection": 22,
        "shots_stated": 0,
        "zero_shot": 19,
        "instruction_seen_in_training": 27,  # five more of STS ask as STS12 does
    }
    alike = {task for task, one in table.items() if one.seen and one.served_by is None}
    assert alike == {"SICK-R", "STS13", "STS14", "STS15", "STS17"}


def test_one_rule_for_symmetry(mteb_tasks: Benchmark) -> None:
    """Duplicates and similar sentences stand behind the instruction on both sides, in training and in evaluation."""
    config = recipe()
    tasks = {
        name: task for name, task in config.prepare.tasks.items() if task.kind not in ("classification", "clustering")
    }
    assert {name for name, task in tasks.items() if task.symmetric} == {
        *("quora", "stackoverflow_duplicates"),
        *("sts12", "sts22", "stsbenchmark"),
    }
    table = prompt_table(mteb_tasks, trained_prompts(config), {})
    duplicates = ("AskUbuntuDupQuestions", "CQADupstackGamingRetrieval", "CQADupstackUnixRetrieval")
    assert all(table[name].prompt.symmetric for name in (*duplicates, "SprintDuplicateQuestions", "STS13", "STS12"))
    assert not any(table[name].prompt.symmetric for name in ("SCIDOCS", "FiQA2018", "MindSmallReranking"))


def small(*names: str) -> Benchmark:
    makers: dict[str, Callable[[], object]] = {}
    return Benchmark("small", makers, {name: TaskPrompt(f"Own {name}") for name in names})  # type: ignore[arg-type]


def test_own_name_then_first_that_serves_then_stated_then_none() -> None:
    trained = {
        "first": TrainedPrompt(TaskPrompt("One", True, SHOT), ("a", "b", "elsewhere")),
        "b": TrainedPrompt(TaskPrompt("Own b"), ("a",)),
    }
    stated = {"c": [ShotParams(query="q", response="r")]}
    table = prompt_table(small("a", "b", "c", "d"), trained, stated)
    assert {task: (one.served_by, one.shots_from, one.seen) for task, one in table.items()} == {
        "a": ("first", "selection", True),
        "b": ("b", "none", True),
        "c": (None, "stated", False),
        "d": (None, "none", False),
    }
    assert table["a"].prompt == TaskPrompt("One", True, SHOT)
    assert table["c"].prompt == TaskPrompt("Own c", False, (Shot("q", "r"),))


def test_shots_that_reach_no_task_are_refused_and_some_are_told(caplog: pytest.LogCaptureFixture) -> None:
    lost = {"faq": TrainedPrompt(TaskPrompt("F", shots=SHOT)), "zero": TrainedPrompt(TaskPrompt("Z"), ("a",))}
    with pytest.raises(UserError, match=r"shots of faq reach no task of small; .*in_domain, or .*max_shots: 0"):
        prompt_table(small("a"), lost, {})
    caplog.set_level("INFO")
    prompt_table(
        small("a"), {**lost, "more": TrainedPrompt(TaskPrompt("M", shots=SHOT), ("a",)), "zero": lost["faq"]}, {}
    )
    assert "shots of faq, zero reach no evaluated task" in caplog.text


@pytest.mark.parametrize(
    ("name", "message"), [("x", "small has no such task"), ("a", "shots chosen for training task t")]
)
def test_stated_shots_that_would_not_be_used_are_refused(name: str, message: str) -> None:
    trained = {"t": TrainedPrompt(TaskPrompt("T", shots=SHOT), ("a",))}
    with pytest.raises(UserError, match=rf"evaluate\.shots\.{name}: .*{message}"):
        prompt_table(small("a"), trained, {name: [ShotParams(query="q", response="r")]})
