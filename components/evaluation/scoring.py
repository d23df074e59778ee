"""Scoring of tasks whose vectors are stored, in this process or in others while the next texts are embedded."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.benchmark.adapter import EvaluatedEncoder, FoundryModel
from components.contracts.shots import TaskPrompt
from components.evaluation.planner import TaskPlan
from components.evaluation.runner import MakeTask, evaluate_task
from components.model.stored_embedder import MissingVectorError
from components.stage.executor import process_pool


@dataclass(frozen=True)
class Scorer:
    """A model as another process needs it: its reader, which has no weights. Called there with one task."""

    name: str
    reader: EvaluatedEncoder
    prompts: dict[str, TaskPrompt]
    settings: dict[str, Any]
    folder: Path

    def __call__(self, make: MakeTask) -> bool:
        """Score one task from stored vectors; False when the plan lacked some of them."""
        try:
            evaluate_task(FoundryModel(self.name, self.reader, self.prompts, self.settings), make, self.folder)
        except MissingVectorError:
            return False
        return True


@contextmanager
def scoring_pool(model: FoundryModel, scorer: Scorer, processes: int) -> Iterator[Callable[[TaskPlan], None]]:
    """A function that scores a task: at once when `processes` is 0, else in one of that many processes.

    On leaving, all tasks are scored; what a process could not score for want of a vector is scored here.
    """
    if not processes:
        yield lambda task: evaluate_task(model, task.make, scorer.folder)
        return
    running: list[tuple[Future[bool], TaskPlan]] = []
    with process_pool(processes, "scoring_processes", models=False) as pool:
        yield lambda task: running.append((pool.submit(scorer, task.make), task))
        for future, task in running:
            if not future.result():
                evaluate_task(model, task.make, scorer.folder)
