"""Tasks of an evaluation and their own prompts; prompts.py puts those of the training tasks in their place.

`starter` is our own held-out data (starter.py); any other name is a benchmark of mteb, such as `MTEB(eng, v2)`, with
its data from the hub or from a local mirror (mirror.py).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import mteb
from mteb.abstasks.abstask import AbsTask
from mteb.types import PromptType

from components.base.errors import UserError
from components.benchmark.starter import starter_task, starter_tasks
from components.config import EvaluateParams, benchmark_tasks
from components.contracts.shots import TaskPrompt
from components.contracts.tasks import read_tasks

PAIRED = ("STS", "PairClassification")


@dataclass(frozen=True)
class Benchmark:
    """By task name: `makers` return new task objects, `prompts` have no shots."""

    name: str
    makers: dict[str, Callable[[], AbsTask]]
    prompts: dict[str, TaskPrompt]


def load_benchmark(params: EvaluateParams, prepared: Path) -> Benchmark:
    """The benchmark the parameters name.

    Args:
        prepared: outputs/prepare/benchmark, read for `starter` only.

    Raises:
        UserError: unknown benchmark or task, no mirror folder, or a task without an instruction.
    """
    if params.benchmark == "starter":
        starter_tasks(prepared)  # raises on bad data before anything runs
        tasks = read_tasks(prepared / "tasks.yaml").values()
        prompts = {task.name: TaskPrompt(task.instruction, task.symmetric) for task in tasks}
        makers = {name: partial(starter_task, prepared, name) for name in prompts}
        return Benchmark("starter", dict[str, Callable[[], AbsTask]](makers), prompts)
    names = mteb_task_names(params.benchmark)
    table = benchmark_tasks()
    missing = [name for name in names if name not in table]
    if missing:
        raise UserError(
            f"components/config/benchmark_tasks.yaml: no instruction for task {missing[0]}; add a line for it"
        )
    mirror = Path(params.mirror) if params.mirror else None
    makers = {name: partial(mteb_task, name, mirror) for name in names}
    prompts = {name: TaskPrompt(table[name].instruction, symmetric=bool(table[name].symmetric)) for name in names}
    return Benchmark(params.benchmark, dict[str, Callable[[], AbsTask]](makers), prompts)


def mteb_task_names(benchmark: str) -> list[str]:
    """Names of a benchmark's tasks, in mteb's order. Raises UserError when mteb has no such benchmark."""
    try:
        return [task.metadata.name for task in mteb.get_benchmark(benchmark).tasks]
    except KeyError:
        raise UserError(
            f"params.yaml: evaluate.benchmark: {benchmark!r} is no benchmark of mteb, nor starter"
        ) from None


def name_sides(task: AbsTask) -> AbsTask:
    """Set the prompt types of a pair task's two texts: the first is the query and gets shots."""
    if task.metadata.type in PAIRED:
        task.input1_prompt_type = PromptType.query  # type: ignore[attr-defined]  # of mteb's two pair classes
        task.input2_prompt_type = PromptType.document  # type: ignore[attr-defined]  # the same
    return task


@cache
def _scopes(benchmark: str) -> dict[str, dict[str, list[str]]]:
    return {
        task.metadata.name: {"hf_subsets": list(task.hf_subsets), "eval_splits": list(task.eval_splits)}
        for task in mteb.get_benchmark(benchmark).tasks
    }


def english_scope(name: str) -> dict[str, Any]:
    """hf_subsets (languages) and eval_splits of a task of MTEB(eng, v2), for `mteb.get_task`; {} for any other task."""
    return _scopes("MTEB(eng, v2)").get(name, {})


def mteb_task(name: str, mirror: Path | None = None) -> AbsTask:
    """A new mteb task object with its subsets as in MTEB(eng, v2); data from `mirror` if given.

    Raises:
        UserError: the mirror has no folder for the task's data set.
    """
    if name == "MindSmallReranking":
        from components.benchmark.mindsmall import IndexedMindSmall

        task: AbsTask = IndexedMindSmall()
    else:
        task = mteb.get_task(name, **english_scope(name))
    if mirror is not None:
        folder = mirror / task.metadata.dataset["path"]
        if not folder.is_dir():
            raise UserError(f"{folder}: missing; copy the data set there (foundry mirror {mirror})")
        task.metadata = task.metadata.model_copy(update={"dataset": {**task.metadata.dataset, "path": str(folder)}})
    return name_sides(task)
