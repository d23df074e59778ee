"""Shared fixtures: a tiny random Mistral with a byte-level tokenizer, so that GPU code paths run in a blink."""

import gc
import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from components.config import EngineParams
from tests.checkouts import checkout, no_upload, store, trained
from tests.databases import empty_prefect, empty_store
from tests.hub import hub
from tests.models import make_tiny_student
from tests.warm import warm_cluster, warm_context, warm_executable
from tests.warm_python import SHARED, warm_python

# fixtures for every folder
__all__ = ["checkout", "empty_prefect", "empty_store", "hub", "no_upload", "store", "trained"]

SLOW_SECONDS = 2.0

gc.disable()  # while the tests and what they import are collected: a fifth of the CPU seconds of an import
os.environ.setdefault("DO_NOT_TRACK", "true")  # no telemetry of any library from the tests
os.environ.setdefault("DVC_NO_ANALYTICS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # two cores shared by test processes: no busy waiting


@cache
def group_of(file: Path) -> str:
    """Files that go to one process together: those that use the Dask cluster; any other file goes alone."""
    return "dask" if "dask_engine" in file.read_text(encoding="utf-8") else str(file)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """A process takes a group at a time."""
    from xdist.scheduler import LoadFileScheduling

    class LoadGroups(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group_of(config.rootpath / super()._split_scope(nodeid))

    return LoadGroups(config, log)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(config: pytest.Config, specs: list[Any]) -> None:
    """Test processes are forked with their imports done: one import of torch, MLflow and DVC for all of them."""
    SHARED[:] = [config._tmp_path_factory.getbasetemp()]  # type: ignore[attr-defined]
    for spec in specs:
        spec.python = str(warm_python() / "python")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Groups with many slow tests come first: what is left for the end is small, and the processes end together."""
    slow = Counter(group_of(item.path) for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[group_of(item.path)])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name passed tests over two seconds that are not marked slow; a report only, as a busy machine has more."""
    passed = terminalreporter.stats.get("passed", [])
    unmarked = [r for r in passed if r.when == "call" and r.duration > SLOW_SECONDS and "slow" not in r.keywords]
    for report in sorted(unmarked, key=lambda report: -report.duration):
        terminalreporter.write_line(f"{report.duration:.0f} s without @pytest.mark.slow: {report.nodeid}")


def pytest_collection_finish() -> None:
    """The garbage collector leaves alone what the imports made: millions of objects, most of a collection's second."""
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def tiny_student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a random two-layer student."""
    return make_tiny_student(tmp_path_factory.mktemp("student"))


@pytest.fixture(scope="session", autouse=True)
def shared_folder(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Where the test processes find the server of tests/warm_python.py."""
    own = tmp_path_factory.getbasetemp()
    SHARED[:] = [own.parent if hasattr(pytestconfig, "workerinput") else own]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tests compute on one thread: tiny matrices gain nothing from two, and runs beside each other do not fight."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def cold_start() -> None:
    """No fixture of a whole session leaves `sys.executable` forked: a test that kills what it starts would lose it."""
    assert not Path(sys.executable).is_relative_to(SHARED[0]), "a session's fixture has kept warm_executable() open"


@pytest.fixture
def warm_pools(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pools fork their processes; a test that kills one leaves them the product's own start method."""
    from components.stage import executor

    monkeypatch.setattr(executor, "multiprocessing", SimpleNamespace(get_context=lambda method: warm_context()))


@pytest.fixture(scope="session")
def warm_folder(shared_folder: None) -> Path:
    """A folder with `python` and `foundry`, whose processes start in a blink; for PATH."""
    return warm_python()


@pytest.fixture
def warm_start() -> Iterator[None]:
    """What this test starts is forked."""
    with warm_executable():
        yield


@pytest.fixture(scope="session")
def dask_workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a Dask scheduler with two processes as workers; one that is killed is started again."""
    with warm_cluster(2, tmp_path_factory.mktemp("workers")) as cluster:
        yield cluster.scheduler_address


@pytest.fixture(scope="session")
def dask_engine(
    dask_workers: str, empty_prefect: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[EngineParams]:
    """The two workers, and a Prefect server with a home of its own."""
    from components.stage.executor import prefect_server

    home = tmp_path_factory.mktemp("prefect")
    shutil.copyfile(empty_prefect, home / "prefect.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_HOME", str(home))
        patch.setenv("PREFECT_LOGGING_LEVEL", "ERROR")
        from prefect.settings import PREFECT_HOME, temporary_settings

        with temporary_settings({PREFECT_HOME: home}), ExitStack() as stack:
            with warm_executable():  # of the server alone: this fixture lives on while other tests run
                stack.enter_context(prefect_server())
            yield EngineParams(kind="dask", address=dask_workers)
