"""Child processes that start in a blink: forked from a server that has imported the heavy packages once.

A process that imports torch, transformers, peft and mteb works six to ten seconds before it does anything, and a test
that kills a process, or compares two, is not about that. It starts its processes here. Tests of a command line start
the command.
"""

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing import forkserver, spawn
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any

import pytest

from tests.warm_python import warm_python


def warm_context() -> ForkServerContext:
    """A start method for `multiprocessing` whose server runs, with the heavy packages imported."""
    context = multiprocessing.get_context("forkserver")
    cold = spawn.get_executable()
    spawn.set_executable(str(warm_python() / "python"))
    try:
        forkserver.ensure_running()
    finally:
        spawn.set_executable(cold)
    return context


@contextmanager
def warm_executable() -> Iterator[None]:
    """What is started by `sys.executable`, or by its name, is forked. Not for what is killed or starts itself again."""
    folder = warm_python()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
        patch.setattr(sys, "executable", str(folder / "python"))
        yield


def kill_worker() -> None:
    """End this process as the kernel does when memory runs out; the tests' own process refuses."""
    if multiprocessing.parent_process() is None:
        raise RuntimeError("a shard that kills its worker ran in the process of the tests")
    os.kill(os.getpid(), signal.SIGKILL)


def start_warm(target: Callable[..., object], *arguments: Any) -> ForkServerProcess:
    """Call `target` of a module of `tests` or `components` in a process of its own."""
    process = warm_context().Process(target=target, args=arguments, daemon=True)
    process.start()
    return process


class WarmStage:
    """A stage of the checkout `root` in a warm process, with what its caller uses of `subprocess.Popen`."""

    def __init__(self, root: Path, stage: str) -> None:
        self.process = start_warm(run_one_stage, root, stage)

    def poll(self) -> int | None:
        return self.process.exitcode

    def kill(self) -> None:
        self.process.kill()

    def wait(self) -> int:
        self.process.join()
        assert self.process.exitcode is not None
        return self.process.exitcode

    returncode = property(poll)


def run_one_stage(root: Path, stage: str) -> None:
    """What `foundry stage` does, in this process; it logs to the checkout's own MLflow. The error line is a file."""
    from components.base.errors import UserError
    from components.stage.run import run_stage

    os.chdir(root)
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{root / 'mlflow.db'}"
    try:
        run_stage(stage, root)
    except UserError as error:
        (root / "error.txt").write_text(str(error), encoding="utf-8")
        sys.exit(1)


def meeting_store() -> Any:
    """Where two processes meet to train together; torchrun keeps one for its processes, here the test does."""
    from torch.distributed import TCPStore

    return TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)


def meet_as_under_torchrun(rank: int, store_port: int) -> None:
    """Set what torchrun sets in each of two processes of one machine."""
    os.environ |= {"TORCHELASTIC_RUN_ID": "test", "TORCHELASTIC_USE_AGENT_STORE": "True"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store_port)}
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}


@contextmanager
def warm_cluster(workers: int, prefect_home: Path, settings: Mapping[str, Any] | None = None) -> Iterator[Any]:
    """A Dask cluster of forked processes; a few deaths of a worker in a row can lose it for good."""
    import dask

    from infra.dask_cluster import start_cluster

    warm_context()
    own = {
        "distributed.worker.multiprocessing-method": "forkserver",
        "distributed.nanny.environ": {"PREFECT_HOME": str(prefect_home), "PREFECT_LOGGING_LEVEL": "ERROR"},
    }
    with dask.config.set({**own, **(settings or {})}), start_cluster(workers) as cluster:
        yield cluster
