"""Tasks of an evaluation and their own prompts; prompts.py puts those of the training tasks in their place.

`starter` is our own held-out data (starter.py); any other name is a benchmark of mteb, such as `MTEB(eng, v2)`, with
its data from the hub or from a local mirror (mirror.py).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import mteb
from mteb.abstasks.abstask import AbsTask
from mteb.abstasks.aggregated_task import AbsTaskAggregate
from mteb.types import PromptType

from components.base.errors import UserError
from components.benchmark.starter import starter_task, starter_tasks
from components.config import EvaluateParams, InstructionParams, benchmark_tasks
from components.contracts.shots import TaskPrompt
from components.contracts.tasks import read_tasks

PAIRED = ("STS", "PairClassification")
BOTH_SIDES = (*PAIRED, "BitextMining")  # types whose two texts are of one sort
ENGLISH = "MTEB(eng, v2)"


@dataclass(frozen=True)
class Benchmark:
    """By task name: `makers` return new task objects, `prompts` have no shots."""

    name: str
    makers: dict[str, Callable[[], AbsTask]]
    prompts: dict[str, TaskPrompt]


def load_benchmark(params: EvaluateParams, prepared: Path) -> Benchmark:
    """The benchmark the parameters name, and the held-out tasks that join it.

    Args:
        prepared: outputs/prepare/benchmark, read for `starter` and `evaluate.held_out` only.

    Raises:
        UserError: unknown benchmark or task, a task of a kind that is not evaluated here, no mirror folder, or a task
            without an instruction.
    """
    if params.benchmark == "starter":
        return _held_out(prepared, None)
    tasks = mteb_tasks(params.benchmark)
    _check_kinds(params.benchmark, tasks)
    prompts = _prompts_of(tasks, params.instructions)
    mirror = Path(params.mirror) if params.mirror else None
    makers = {name: partial(mteb_task, name, mirror, params.benchmark) for name in tasks}
    own = _held_out(prepared, params.held_out) if params.held_out else Benchmark("", {}, {})
    twice = sorted(set(tasks) & set(own.makers))
    if twice:
        raise UserError(
            f"evaluate.held_out: {twice[0]} is a task of {params.benchmark} too; give yours another name in "
            "prepare.tasks"
        )
    return Benchmark(params.benchmark, {**makers, **own.makers}, {**prompts, **own.prompts})


def _held_out(prepared: Path, names: Sequence[str] | None) -> Benchmark:
    """The tasks that prepare holds out, or those of these names."""
    starter_tasks(prepared)  # raises on bad data before anything runs
    tasks = read_tasks(prepared / "tasks.yaml")
    unknown = [name for name in names or () if name not in tasks]
    if unknown:
        raise UserError(
            f"evaluate.held_out: {unknown[0]}: prepare holds nothing out for it; one of {', '.join(tasks)}, or set "
            f"prepare.tasks.{unknown[0]}.test"
        )
    prompts = {name: TaskPrompt(tasks[name].instruction, tasks[name].symmetric) for name in names or tasks}
    makers = {name: partial(starter_task, prepared, name) for name in prompts}
    return Benchmark("starter", dict[str, Callable[[], AbsTask]](makers), prompts)


def _check_kinds(benchmark: str, tasks: Mapping[str, AbsTask]) -> None:
    """Raises UserError for tasks that are not of text alone, or that are made of others."""
    for name, task in tasks.items():
        other = sorted(set(task.metadata.modalities) - {"text"})
        if other or isinstance(task, AbsTaskAggregate):
            what = f"has {', '.join(other)}" if other else "is a mean of other tasks"
            raise UserError(
                f"evaluate.benchmark: {benchmark}: task {name} {what}; only single tasks of texts are evaluated "
                "here, so name another benchmark"
            )


def _prompts_of(tasks: Mapping[str, AbsTask], stated: Mapping[str, InstructionParams]) -> dict[str, TaskPrompt]:
    """Each task's prompt: that of `evaluate.instructions`, of our table, mteb's own, or the stated one of its type.

    Raises:
        UserError: a task without any, or a stated one for a task that is not in the benchmark.
    """
    types = {str(task.metadata.type) for task in tasks.values()}
    unknown = [name for name in stated if name not in tasks and name not in types]
    if unknown:
        raise UserError(
            f"evaluate.instructions.{unknown[0]}: no task and no type of the benchmark; correct it (its types are "
            f"{', '.join(sorted(types))})"
        )
    table, prompts, missing = benchmark_tasks(), dict[str, TaskPrompt](), []
    for name, task in tasks.items():
        own = task.metadata.prompt
        of_mteb = own.get("query") if isinstance(own, dict) else own
        if name in stated:
            prompts[name] = TaskPrompt(stated[name].instruction, stated[name].symmetric)
        elif name in table:
            prompts[name] = TaskPrompt(table[name].instruction, symmetric=bool(table[name].symmetric))
        elif of_mteb:
            prompts[name] = TaskPrompt(of_mteb, symmetric=task.metadata.type in BOTH_SIDES)
        elif task.metadata.type in stated:
            prompts[name] = TaskPrompt(stated[task.metadata.type].instruction, stated[task.metadata.type].symmetric)
        else:
            missing.append(name)
    if missing:
        raise UserError(
            f"evaluate.instructions: neither it nor mteb has an instruction for {len(missing)} tasks; add one for "
            f"each, or for its type: {', '.join(missing)}"
        )
    return prompts


def mteb_task_names(benchmark: str) -> list[str]:
    """Names of a benchmark's tasks, in mteb's order. Raises UserError when mteb has no such benchmark."""
    return list(mteb_tasks(benchmark))


def mteb_tasks(benchmark: str) -> dict[str, AbsTask]:
    """mteb's own task objects of a benchmark, by name: for what they say, not to be evaluated."""
    try:
        return {task.metadata.name: task for task in mteb.get_benchmark(benchmark).tasks}
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
def scope(benchmark: str, name: str) -> dict[str, Any]:
    """hf_subsets (languages) and eval_splits of a benchmark's task, for `mteb.get_task`; {} for any other task."""
    task = mteb_tasks(benchmark).get(name)
    return {"hf_subsets": list(task.hf_subsets), "eval_splits": list(task.eval_splits)} if task else {}


def mteb_task(name: str, mirror: Path | None = None, benchmark: str = ENGLISH) -> AbsTask:
    """A new mteb task object with its subsets and splits as in `benchmark`; data from `mirror` if given.

    Raises:
        UserError: the mirror has no folder for the task's data set.
    """
    if name == "MindSmallReranking":
        from components.benchmark.mindsmall import IndexedMindSmall

        task: AbsTask = IndexedMindSmall()
    else:
        task = mteb.get_task(name, **scope(benchmark, name))
    if mirror is not None:
        folder = mirror / task.metadata.dataset["path"]
        if not folder.is_dir():
            raise UserError(f"{folder}: missing; copy the data set there (foundry mirror {mirror})")
        task.metadata = task.metadata.model_copy(update={"dataset": {**task.metadata.dataset, "path": str(folder)}})
    return name_sides(task)
