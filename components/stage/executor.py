"""Shards of work on this machine's threads, or on a Dask cluster: one parameter, the same bytes.

A shard is a module-level function and plain arguments. It leaves its result in a file that it renames into place when
it is whole, so a killed run continues with the shards that are not there, and one that ran twice wrote the same bytes
twice. Inside a shard all arithmetic runs on one thread, which makes its rounding independent of the worker's cores.

On Dask the shards are Prefect tasks (prefect-dask), so they show up one by one beside the pipeline. The workers must
see the same files as the stage (the checkout, outputs/ and .cache/ on a shared disk) and, when they are on other
machines, the Prefect server of PREFECT_API_URL. A worker that dies gives its shard back to the scheduler; a shard that
fails is tried `retries` times.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import as_completed
from contextlib import contextmanager
from typing import Any

from components.base.errors import UserError
from components.base.progress import bar
from components.base.threads import single_threaded, workers
from components.config import EngineParams

_SERVER_START = 300  # seconds; Prefect's own 20 are too few on a busy machine


def run_shards(
    function: Callable[..., None], shards: Sequence[tuple[Any, ...]], what: str, engine: EngineParams, threads: int
) -> None:
    """Call `function(*shard)` for every shard, under a progress bar with an ETA.

    Args:
        function: importable by name from every worker; writes its result to a file.
        threads: shards at a time when the engine is local.

    Raises:
        UserError: the Dask scheduler can't be reached.
    """
    if not shards:
        return
    if engine.kind == "dask":
        _run_on_dask(function, shards, what, engine)
        return
    with bar(what, len(shards), "shard") as shown, single_threaded(), workers(threads) as pool:
        running = [pool.submit(function, *shard) for shard in shards]
        try:
            for done in as_completed(running):
                done.result()
                shown.update(1)
        finally:
            pool.shutdown(cancel_futures=True)


def _run_on_dask(
    function: Callable[..., None], shards: Sequence[tuple[Any, ...]], what: str, engine: EngineParams
) -> None:
    try:
        from prefect import flow, task
        from prefect.cache_policies import NO_CACHE
        from prefect.futures import as_completed as finished
        from prefect_dask import DaskTaskRunner
    except ImportError:
        raise UserError("engine.kind: dask needs prefect-dask; pip install 'embedding-foundry[dask]'") from None
    _check_scheduler(str(engine.address))
    name = re.sub(r"[/%&<>]", " ", what)  # Prefect refuses these; a task of the parameters may be called so
    shard_task = task(name=name, retries=engine.retries, cache_policy=NO_CACHE, persist_result=False)(_one_shard)
    runner: Any = DaskTaskRunner(address=engine.address)

    @flow(name=name, task_runner=runner)
    def spread() -> None:
        with bar(what, len(shards), "shard") as shown:
            running = [shard_task.submit(function, shard) for shard in shards]
            for done in finished(running):
                done.result()
                shown.update(1)

    with prefect_server():
        spread()


@contextmanager
def prefect_server() -> Iterator[None]:
    """The configured Prefect server, or one of our own on the loopback address that flow and workers share."""
    from prefect.server.api.server import SubprocessASGIServer
    from prefect.settings import PREFECT_API_URL, PREFECT_SERVER_ANALYTICS_ENABLED, temporary_settings

    if PREFECT_API_URL.value():
        yield
        return
    server = SubprocessASGIServer()
    with temporary_settings({PREFECT_SERVER_ANALYTICS_ENABLED: False}):
        server.start(timeout=_SERVER_START)
    try:
        with temporary_settings({PREFECT_API_URL: server.api_url}):
            yield
    finally:
        server.stop()


def _one_shard(function: Callable[..., None], shard: tuple[Any, ...]) -> None:
    with single_threaded():
        function(*shard)


def _check_scheduler(address: str) -> None:
    from distributed import Client

    try:
        client = Client(address, timeout=10)
    except (OSError, TimeoutError, ValueError) as problem:
        raise UserError(
            f"engine.address: no Dask scheduler at {address} ({type(problem).__name__}); start one"
        ) from None
    workers = len(client.scheduler_info()["workers"])
    client.close()
    if not workers:
        raise UserError(f"engine.address: the Dask scheduler at {address} has no worker; start at least one")
