"""The prompt of every benchmark task: that of the training task which serves it, else the benchmark's own.

A training task serves the benchmark tasks of its `in_domain`, and one of its own name (the starter's held-out data).
They are asked as in training: its instruction, its `symmetric`, its chosen shots. All other tasks have the benchmark's
own prompt, with shots from `evaluate.shots` or none.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

from components.base.errors import UserError
from components.benchmark.tasks import Benchmark
from components.config import ShotParams
from components.config.benchmark_tasks import serving_tasks
from components.contracts.shots import EvaluatedPrompt, Shot, TaskPrompt, TrainedPrompt

log = logging.getLogger(__name__)


def prompt_table(
    benchmark: Benchmark, trained: Mapping[str, TrainedPrompt], stated: Mapping[str, Sequence[ShotParams]]
) -> dict[str, EvaluatedPrompt]:
    """By benchmark task, in the benchmark's order.

    Args:
        trained: outputs/select_shots/shots.yaml.
        stated: `evaluate.shots`.

    Raises:
        UserError: shots that reach no task of the benchmark, or stated ones for a task that a training task serves.
    """
    serving = serving_tasks({name: one.serves for name, one in trained.items()})
    serving = {task: name for task, name in serving.items() if task in benchmark.prompts}
    _check_reach(benchmark, trained, serving)
    _check_stated(benchmark, stated, serving)
    seen = {one.prompt.instruction for one in trained.values()}
    table = {}
    for name, own in benchmark.prompts.items():
        if name in serving:
            prompt = trained[serving[name]].prompt
            table[name] = EvaluatedPrompt(prompt, serving[name], "selection" if prompt.shots else "none", seen=True)
            continue
        shots = tuple(Shot(one.query, one.response) for one in stated.get(name, ()))
        prompt = replace(own, shots=shots)
        table[name] = EvaluatedPrompt(prompt, None, "stated" if shots else "none", own.instruction in seen)
    return table


def without_shots(prompt: TaskPrompt) -> TaskPrompt:
    """For models that did not learn to read shots: the base student and the teacher."""
    return replace(prompt, shots=())


def _check_reach(benchmark: Benchmark, trained: Mapping[str, TrainedPrompt], serving: Mapping[str, str]) -> None:
    chosen = [name for name, one in trained.items() if one.prompt.shots]
    lost = [name for name in chosen if name not in serving.values()]
    if lost and len(lost) == len(chosen):
        raise UserError(
            f"outputs/select_shots/shots.yaml: the shots of {', '.join(lost)} reach no task of {benchmark.name}; name "
            "the benchmark tasks that they serve in prepare.tasks.<task>.in_domain, or set select_shots.max_shots: 0"
        )
    if lost:
        log.info("shots of %s reach no evaluated task, only the registered model", ", ".join(lost))


def _check_stated(benchmark: Benchmark, stated: Mapping[str, Sequence[ShotParams]], serving: Mapping[str, str]) -> None:
    for name in stated:
        if name not in benchmark.prompts:
            raise UserError(f"evaluate.shots.{name}: {benchmark.name} has no such task; remove it or correct the name")
        if name in serving:
            raise UserError(
                f"evaluate.shots.{name}: it gets the shots chosen for training task {serving[name]}, which serves it; "
                "remove these"
            )
