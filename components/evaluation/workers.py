"""Who embeds the shards of a plan: this process, processes on this machine (one a device), or Dask workers.

Every worker loads the model once and puts what it embeds into the vector store, one `put` a shard, so nothing has to
travel back: the store is the result. A shard is the same texts whoever takes it. Dask workers need the same paths
(cache and models), as they have on a shared file system.
"""

import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.base.errors import UserError
from components.base.process import die_with_parent
from components.benchmark.adapter import EvaluatedEncoder, FoundryModel, TaskPrompt
from components.config import EvaluateParams
from components.evaluation.planner import Plan, TaskPlan
from components.evaluation.runner import evaluate_task
from components.model.embed_shard import embed, embed_shard
from components.model.load_once import ModelSource
from components.model.stored_embedder import MissingVectorError


def embedded(
    plan: Plan, model: FoundryModel, source: ModelSource, params: EvaluateParams, update: Callable[[int], Any]
) -> Iterator[TaskPlan]:
    """Embed the plan, and yield each task when its texts and those of all tasks before it are in the store.

    Args:
        update: called with the number of texts of every shard that is done.

    Raises:
        UserError: the Dask scheduler can't be reached, or a process died (Dask starts a lost shard again elsewhere, and
            gives up when it kills worker after worker). Finished shards are in the store: a rerun continues.
    """
    if not params.workers and params.address is None:
        for task in plan.tasks:
            for shard in task.shards(params.shard):
                embed(model.encoder, shard)
                update(len(shard.texts))
            yield task
        return
    with _executor(params) as submit:
        running = [
            (task, [(submit(embed_shard, source, shard), len(shard.texts)) for shard in task.shards(params.shard)])
            for task in plan.tasks
        ]
        for task, shards in running:
            for future, texts in shards:
                future.result()
                update(texts)
            yield task


@contextmanager
def _executor(params: EvaluateParams) -> Iterator[Callable[..., Any]]:
    """`submit` of Dask's client or of a pool of processes; both give futures with `result()`."""
    if params.address is not None:
        from distributed import Client, KilledWorker

        try:
            client = Client(params.address, timeout=params.connect_seconds)
        except OSError:
            raise UserError(
                f"params.yaml: evaluate.address: no Dask scheduler at {params.address}; start one or correct it"
            ) from None
        with client, _death_said(KilledWorker, "evaluate.shard"):  # Dask runs the shard of a dead worker elsewhere
            yield lambda *call: client.submit(*call, pure=False)
        return
    context = multiprocessing.get_context("spawn")
    devices = context.Queue()
    for number in range(params.workers):
        devices.put(number)
    with (
        ProcessPoolExecutor(
            params.workers, mp_context=context, initializer=_settle, initargs=(devices, params.workers)
        ) as pool,
        _death_said(BrokenProcessPool, "evaluate.workers"),
    ):
        yield pool.submit


@contextmanager
def _death_said(death: type[Exception], fewer: str) -> Iterator[None]:
    """One line for a worker that was killed from outside."""
    try:
        yield
    except death:
        raise UserError(
            f"evaluate: a worker process was killed, most often for want of memory; lower {fewer} in params.yaml and"
            " run this again: what is finished is kept"
        ) from None


def _settle(devices: Any, workers: int) -> None:
    """Take one GPU (in turn) or a share of the cores, and never outlive the parent."""
    import torch

    die_with_parent()
    number = devices.get()
    if torch.cuda.is_available():
        torch.cuda.set_device(number % torch.cuda.device_count())
    else:
        torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // workers))


@dataclass(frozen=True)
class Scorer:
    """A model as another process needs it: its reader, which has no weights. Called there with one task."""

    name: str
    reader: EvaluatedEncoder
    prompts: dict[str, TaskPrompt]
    settings: dict[str, Any]

    def __call__(self, make: Callable[[], Any], folder: Path) -> bool:
        """Score one task from stored vectors; False when the plan lacked some of them."""
        try:
            evaluate_task(FoundryModel(self.name, self.reader, self.prompts, self.settings), make, folder)
        except MissingVectorError:
            return False
        return True


@contextmanager
def scoring_pool(processes: int) -> Iterator[Callable[[Scorer, FoundryModel, TaskPlan, Path], None]]:
    """A function that scores a task: at once when `processes` is 0, else in one of that many processes.

    On leaving, all tasks are scored; what a process could not score for want of a vector is scored here.
    """
    if not processes:
        yield lambda scorer, model, task, folder: evaluate_task(model, task.make, folder)
        return
    running: list[tuple[Any, FoundryModel, TaskPlan, Path]] = []
    context = multiprocessing.get_context("spawn")
    with (
        ProcessPoolExecutor(processes, mp_context=context, initializer=die_with_parent) as pool,
        _death_said(BrokenProcessPool, "evaluate.scoring_processes"),
    ):

        def submit(scorer: Scorer, model: FoundryModel, task: TaskPlan, folder: Path) -> None:
            running.append((pool.submit(scorer, task.make, folder), model, task, folder))

        yield submit
        for future, model, task, folder in running:
            if not future.result():
                evaluate_task(model, task.make, folder)
