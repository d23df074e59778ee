"""Shards of work in one of three places, by the stage's `engine`, and the same bytes from each:

    kind: local, workers: 0    this process
    kind: local, workers: N    N processes of this machine, each on one GPU or a share of the cores
    kind: dask                 a Dask cluster, through prefect-dask

A shard is a module-level function and plain arguments. It leaves its result in a file, or in the vector store, that is
renamed into place when it is whole, so a killed run continues with the shards that are not there, and one that ran
twice wrote the same bytes twice. A model is loaded once a process (components/model/load_once.py).

On Dask the shards are Prefect tasks, so they show up one by one beside the pipeline. The workers must see the same
files as the stage (the checkout, outputs/ and .cache/ on a shared disk) and, when they are on other machines, the
Prefect server of PREFECT_API_URL. A worker that dies gives its shard back to the scheduler; a shard that fails is tried
`retries` times.
"""

import multiprocessing
import os
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from components.base.errors import UserError
from components.base.process import die_with_parent
from components.base.progress import bar
from components.base.temporary_prefect import temporary_prefect
from components.base.threads import single_threaded, workers
from components.config import EngineParams
from components.model.device import card_environment

Shards = Sequence[tuple[Any, ...]]


def run_shards(
    function: Callable[..., Any], shards: Shards, what: str, engine: EngineParams, threads: int | None
) -> None:
    """Call `function(*shard)` for every shard, under a progress bar with an ETA; see `each_shard`."""
    if shards:
        with bar(what, len(shards), "shard") as shown:
            each_shard(function, shards, what, engine, threads, lambda place: shown.update(1))


def each_shard(
    function: Callable[..., Any],
    shards: Shards,
    what: str,
    engine: EngineParams,
    threads: int | None,
    done: Callable[[int], Any],
) -> None:
    """Call `function(*shard)` for every shard, and `done` with its place, in this thread, when it has finished.

    Args:
        function: importable by name from every worker.
        threads: shards at a time in this process. A shard then computes on one thread, here or in a worker, so that
            its rounding does not depend on the number of cores. None: one at a time, each on all threads of its
            process.

    Raises:
        UserError: the Dask scheduler can't be reached, or a worker process was killed (Dask gives a dead worker's shard
            to another, and gives up when it kills several). Finished shards stay: a rerun continues.
    """
    one_thread = threads is not None
    processes = min(worker_processes(engine), len(shards))
    if engine.kind == "dask" and shards:
        _on_dask(function, shards, what, engine, one_thread, done)
    elif processes:
        with process_pool(processes, "engine.workers", models=True) as pool:
            _collect(pool, _one_shard, [(one_thread, function, shard) for shard in shards], done)
    elif threads is None:
        for place, shard in enumerate(shards):
            function(*shard)
            done(place)
    else:
        with single_threaded(), workers(threads) as pool:
            _collect(pool, function, shards, done)


def worker_processes(engine: EngineParams) -> int:
    """Worker processes of a local engine; 0: the stage's own process does the work."""
    if engine.kind == "dask":
        return 0
    if engine.workers != "auto":
        return engine.workers
    import torch

    cards = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return cards if cards > 1 else 0


@contextmanager
def process_pool(processes: int, setting: str, models: bool) -> Iterator[ProcessPoolExecutor]:
    """Processes that end with this one; those for `models` have one GPU each (in turn) and a share of the cores.

    Raises:
        UserError: one was killed from outside; `setting` is what to lower then.
    """
    context = multiprocessing.get_context("spawn")
    numbers = context.Queue()
    for number in range(processes):
        numbers.put(number)
    start: dict[str, Any] = {"initializer": die_with_parent}
    if models:
        start = {"initializer": _take_a_share, "initargs": (numbers, processes)}
    with (
        worker_death_as_user_error(BrokenProcessPool, setting),
        ProcessPoolExecutor(processes, mp_context=context, **start) as pool,
    ):
        yield pool


@contextmanager
def worker_death_as_user_error(death: type[Exception], setting: str) -> Iterator[None]:
    """One line for a worker process that was killed from outside; `setting` is what to lower."""
    try:
        yield
    except death:
        raise UserError(
            f"a worker process was killed, most often for want of memory; lower {setting} of this stage in params.yaml "
            "and run it again: what is finished is kept"
        ) from None


def _take_a_share(numbers: Any, processes: int) -> None:
    import torch

    die_with_parent()
    os.environ |= card_environment(numbers.get())
    torch.set_num_threads(max(1, torch.get_num_threads() // processes))


def _one_shard(one_thread: bool, function: Callable[..., Any], shard: tuple[Any, ...]) -> None:
    with single_threaded() if one_thread else nullcontext():
        function(*shard)


def _collect(pool: Executor, function: Callable[..., Any], shards: Shards, done: Callable[[int], Any]) -> None:
    running = {pool.submit(function, *shard): place for place, shard in enumerate(shards)}
    try:
        for future in as_completed(running):
            future.result()
            done(running[future])
    finally:
        pool.shutdown(cancel_futures=True)


def _on_dask(
    function: Callable[..., Any],
    shards: Shards,
    what: str,
    engine: EngineParams,
    one_thread: bool,
    done: Callable[[int], Any],
) -> None:
    try:
        from distributed import KilledWorker
        from prefect import flow, task
        from prefect.cache_policies import NO_CACHE
        from prefect.futures import as_completed as finished
        from prefect_dask import DaskTaskRunner
    except ImportError:
        raise UserError("engine.kind: dask needs prefect-dask; pip install 'embedding-foundry[dask]'") from None
    _check_scheduler(str(engine.address), engine.connect_seconds)
    name = re.sub(r"[/%&<>]", " ", what)  # Prefect refuses these; a task of the parameters may be called so
    shard_task = task(name=name, retries=engine.retries, cache_policy=NO_CACHE, persist_result=False)(_one_shard)
    runner: Any = DaskTaskRunner(address=engine.address)

    def submit_and_wait() -> None:
        running = {shard_task.submit(one_thread, function, shard): place for place, shard in enumerate(shards)}
        for future in finished(list(running)):
            future.result()
            done(running[future])

    here = _Here(submit_and_wait)
    spread = flow(name=name, task_runner=runner)(lambda: here.call())
    with worker_death_as_user_error(KilledWorker, "engine.shard"), prefect_server():
        spread()


class _Here:
    """A call that stays in this process: Prefect sends a flow's function to the worker of each of its tasks, and with
    it all shards, and a progress bar, which can't be sent."""

    def __init__(self, call: Callable[[], None]) -> None:
        self.call = call

    def __reduce__(self) -> tuple[Any, ...]:
        return _Here, (None,)


@contextmanager
def prefect_server() -> Iterator[None]:
    """The configured Prefect server, or one of our own on the loopback address that flow and workers share."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    if PREFECT_API_URL.value():
        yield
        return
    server, address = temporary_prefect(Path.cwd() / ".cache")
    try:
        server.wait_ready()
        with temporary_settings({PREFECT_API_URL: address}):
            yield
    finally:
        server.stop()


def _check_scheduler(address: str, seconds: int) -> None:
    """Wait for the scheduler, and for a worker: one that died is started again by its nanny."""
    from distributed import Client

    try:
        client = Client(address, timeout=seconds)
    except (OSError, TimeoutError, ValueError) as problem:
        raise UserError(
            f"engine.address: no Dask scheduler at {address} ({type(problem).__name__}); start one"
        ) from None
    with client:
        try:
            client.wait_for_workers(1, timeout=seconds)
        except TimeoutError:
            raise UserError(
                f"engine.address: the Dask scheduler at {address} has no worker after {seconds} s; start at least one"
            ) from None
