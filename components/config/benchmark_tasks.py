"""The tasks of MTEB(eng, v2) with their default prompts, and how training tasks and benchmark tasks share one prompt.

    training task     instruction and symmetric as stated; what is left out comes from the benchmark task it serves
    benchmark task    those of the training task that serves it (`serving_tasks`), else its own of the table

So a benchmark task that a training task serves is asked as in training. Training tasks that serve the same must agree.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

TABLE = Path(__file__).with_name("benchmark_tasks.yaml")
_SYMMETRIC = {"documents_bare": False, "both_sides": True, "one_sort": None}  # group of the table


@dataclass(frozen=True)
class BenchmarkTask:
    """Default prompt of a benchmark task; `symmetric` is None where all its texts are of one sort."""

    instruction: str
    symmetric: bool | None


@cache
def benchmark_tasks() -> dict[str, BenchmarkTask]:
    """By mteb's task name."""
    groups = yaml.safe_load(TABLE.read_text(encoding="utf-8"))
    return {
        name: BenchmarkTask(instruction, _SYMMETRIC[group])
        for group, tasks in groups.items()
        for name, instruction in tasks.items()
    }


def serving_tasks(served: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """Benchmark task -> the training task that serves it: one of its own name, else the first.

    Args:
        served: by training task, the benchmark tasks of its `in_domain`.
    """
    serving = {name: name for name in served}
    for name, tasks in served.items():
        for task in tasks:
            serving.setdefault(task, name)
    return serving


def fill_from_benchmark(task: Mapping[str, Any]) -> dict[str, Any]:
    """A training task's parameters with what they leave out, where the benchmark tasks it serves agree on it."""
    named, table = task.get("in_domain"), benchmark_tasks()
    served = (
        [table[name] for name in named if isinstance(name, str) and name in table] if isinstance(named, list) else []
    )
    instructions = {one.instruction for one in served}
    symmetric = {one.symmetric for one in served} - {None}
    defaults: dict[str, Any] = {}
    if len(instructions) == 1:
        defaults["instruction"] = instructions.pop()
    if len(symmetric) == 1:
        defaults["symmetric"] = symmetric.pop()
    return {**defaults, **task}
