"""What is drawn is known without the examples."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from components.config import parse_config
from components.contracts.schedule import Schedule
from components.contracts.tasks import Task
from tests.samples import small_parameters

SIZES = {"long": 300, "short": 9}
TASKS = {
    name: Task(name, "retrieval", "Find", False, weight, "none", "test") for name, weight in (("long", 1), ("short", 2))
}


@pytest.mark.parametrize("steps", [1, 20, 400])
def test_drawn_are_the_examples_of_all_steps(steps: int) -> None:
    params = parse_config(small_parameters(**{"train.steps": steps, "train.batch_queries": 4}), "test").train
    schedule = Schedule(SIZES, TASKS, params, seed=3)
    expected = {name: np.zeros(size, dtype=bool) for name, size in SIZES.items()}
    for turn in schedule.plan:
        expected[turn.task][schedule.draw(turn)] = True
    drawn = schedule.drawn()
    assert {name: rows.tolist() for name, rows in drawn.items()} == {n: rows.tolist() for n, rows in expected.items()}
    assert drawn["long"].all() == (steps == 400)


def test_each_step_draws_a_wording_and_the_rest_of_the_plan_stays() -> None:
    params = parse_config(small_parameters(**{"train.steps": 300}), "test").train
    plain = Schedule(SIZES, TASKS, params, seed=3).plan
    worded = {**TASKS, "long": replace(TASKS["long"], paraphrases=("Search", "Look up"))}
    plan = Schedule(SIZES, worded, params, seed=3).plan
    assert [turn[:3] for turn in plan] == [turn[:3] for turn in plain]
    counts = Counter(turn.instruction for turn in plan if turn.task == "long")
    assert set(counts) == {"Find", "Search", "Look up"}
    assert min(counts.values()) > 0.2 * counts.total()
    assert {turn.instruction for turn in plan if turn.task == "short"} == {"Find"}


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_task_has_its_share_at_any_time(seed: int) -> None:
    params = parse_config(small_parameters(**{"train.steps": 60, "train.alpha": 0.5}), "test").train
    sizes, weights = {"a": 2000, "b": 400, "c": 400, "d": 30}, (2, 1, 1, 3)
    tasks = {n: Task(n, "retrieval", "Find", False, w, "none", "test") for n, w in zip(sizes, weights, strict=True)}
    shares = {name: tasks[name].weight * sizes[name] ** 0.5 for name in sizes}
    plan = [turn.task for turn in Schedule(sizes, tasks, params, seed).plan]
    for steps in range(1, len(plan) + 1):
        for name, share in shares.items():
            assert abs(plan[:steps].count(name) - steps * share / sum(shares.values())) < 2, (steps, name)
    other = Schedule(sizes, tasks, params, seed + 10).plan
    assert plan != [turn.task for turn in other]
