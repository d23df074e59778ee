"""The engine: every shard once, in this process, in others and on Dask, and a dead worker loses nothing."""

import os
import queue
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from distributed import LocalCluster

from components.base.errors import UserError
from components.base.files import whole_file
from components.config import EngineParams
from components.stage import executor
from components.stage.executor import each_shard, run_shards, worker_processes
from tests.warm import kill_worker, warm_cluster


def write_square(out: Path, number: int) -> None:
    with whole_file(out) as partial:
        partial.write_text(str(number**2), encoding="utf-8")


def die_once(out: Path, number: int) -> None:
    """Kills its own worker in the middle of the first shard, once."""
    mark = out.parent / "died"
    if number == 0 and not mark.exists():
        mark.touch()
        kill_worker()
    write_square(out, number)


def die(out: Path, number: int) -> None:
    kill_worker()


def fail(out: Path, number: int) -> None:
    raise RuntimeError(f"shard {number} is broken")


def shards(folder: Path, number: int = 6) -> list[tuple[Any, ...]]:
    return [(folder / f"{i}.txt", i) for i in range(number)]


def written(folder: Path) -> list[str]:
    return [(folder / f"{i}.txt").read_text(encoding="utf-8") for i in range(6)]


def write_threads(out: Path, number: int) -> None:
    """How many threads a product of this shard would use."""
    with whole_file(out) as partial:
        partial.write_text(str(torch.get_num_threads()), encoding="utf-8")


SLOW = [pytest.param(kind, marks=pytest.mark.slow) for kind in ("two processes", "dask")]


@pytest.fixture(params=["this process", *SLOW])
def engine(request: pytest.FixtureRequest, warm_pools: None) -> EngineParams:
    if request.param == "dask":
        dask: EngineParams = request.getfixturevalue("dask_engine")
        return dask
    return EngineParams(workers=2 if request.param == "two processes" else 0)


@pytest.mark.parametrize("threads", [2, None])
def test_every_shard_runs_once_and_is_told_to_the_caller_s_thread(
    tmp_path: Path, engine: EngineParams, threads: int | None
) -> None:
    done: list[tuple[int, int, bool]] = []

    def note(place: int) -> None:
        done.append((place, threading.get_ident(), (tmp_path / f"{place}.txt").exists()))

    each_shard(write_square, shards(tmp_path), "test", engine, threads, note)
    assert written(tmp_path) == ["0", "1", "4", "9", "16", "25"]
    assert sorted(done) == [(place, threading.get_ident(), True) for place in range(6)]


def test_a_shard_computes_on_one_thread_wherever_it_runs(tmp_path: Path, engine: EngineParams) -> None:
    torch.set_num_threads(3)
    run_shards(write_threads, shards(tmp_path), "test", engine, threads=2)
    assert written(tmp_path) == ["1"] * 6
    assert torch.get_num_threads() == 3


def test_a_shard_that_runs_alone_has_all_threads_of_its_process(tmp_path: Path) -> None:
    torch.set_num_threads(3)
    run_shards(write_threads, shards(tmp_path), "test", EngineParams(workers=0), threads=None)
    assert written(tmp_path) == ["3"] * 6


@pytest.mark.parametrize("threads", [2, None])
def test_a_failing_shard_fails_the_run(tmp_path: Path, engine: EngineParams, threads: int | None) -> None:
    quick = engine.model_copy(update={"retries": 0})
    with pytest.raises(RuntimeError, match="is broken"):
        run_shards(fail, shards(tmp_path), "test", quick, threads)


@pytest.mark.slow
def test_a_killed_worker_process_is_one_line_and_a_rerun_goes_on(tmp_path: Path, warm_pools: None) -> None:
    engine = EngineParams(workers=2)
    with pytest.raises(UserError, match=r"a worker process was killed.*lower engine\.workers of this stage"):
        run_shards(die_once, shards(tmp_path), "test", engine, threads=1)
    run_shards(die_once, shards(tmp_path), "test", engine, threads=1)
    assert written(tmp_path) == ["0", "1", "4", "9", "16", "25"]


def write_card(out: Path, number: int) -> None:
    """The GPUs that this shard's process may see."""
    with whole_file(out) as partial:
        partial.write_text(os.environ.get("CUDA_VISIBLE_DEVICES", "all"), encoding="utf-8")


def test_a_worker_process_takes_a_card_and_a_share_of_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor, "die_with_parent", lambda: None)
    numbers: queue.Queue[int] = queue.Queue()
    for number, card in enumerate("474"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
        torch.set_num_threads(6)
        numbers.put(number)
        executor._take_a_share(numbers, 3)
        assert torch.get_num_threads() == 2
        assert os.environ["CUDA_VISIBLE_DEVICES"] == card


@pytest.mark.slow
def test_each_dask_worker_sees_a_card_of_its_own(
    tmp_path: Path, dask_engine: EngineParams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with warm_cluster(2, tmp_path) as cluster:
        own = dask_engine.model_copy(update={"address": cluster.scheduler_address})
        run_shards(write_card, shards(tmp_path), "test", own, threads=1)
    assert set(written(tmp_path)) == {"0", "1"}


@pytest.mark.parametrize(
    ("engine", "cards", "processes"),
    [
        (EngineParams(), 0, 0),
        (EngineParams(), 1, 0),
        (EngineParams(), 4, 4),
        (EngineParams(workers=0), 4, 0),
        (EngineParams(workers=3), 0, 3),
        (EngineParams(kind="dask", address="tcp://127.0.0.1:9"), 4, 0),
    ],
)
def test_auto_is_one_process_a_card(
    monkeypatch: pytest.MonkeyPatch, engine: EngineParams, cards: int, processes: int
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cards > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cards)
    assert worker_processes(engine) == processes


def test_a_file_cut_short_is_not_there(tmp_path: Path) -> None:
    def half() -> None:
        with whole_file(tmp_path / "x.txt") as partial:
            partial.write_text("half", encoding="utf-8")
            raise RuntimeError("half")

    with pytest.raises(RuntimeError, match="half"):
        half()
    assert not (tmp_path / "x.txt").exists()


@pytest.mark.slow
def test_two_dask_workers_give_the_same_files_and_survive_a_death(tmp_path: Path, dask_engine: EngineParams) -> None:
    run_shards(die_once, shards(tmp_path), "test", dask_engine, threads=1)
    assert written(tmp_path) == ["0", "1", "4", "9", "16", "25"]
    assert (tmp_path / "died").exists()


@pytest.mark.slow
def test_a_shard_that_kills_every_worker_is_one_line(tmp_path: Path, dask_engine: EngineParams) -> None:
    with warm_cluster(1, tmp_path, {"distributed.scheduler.allowed-failures": 0}) as cluster:
        own = dask_engine.model_copy(update={"address": cluster.scheduler_address, "retries": 0})
        with pytest.raises(UserError, match=r"a worker process was killed.*lower engine\.shard of this stage"):
            run_shards(die, shards(tmp_path, 1), "test", own, threads=1)


@pytest.mark.slow
def test_a_scheduler_without_a_worker_is_named() -> None:
    with LocalCluster(n_workers=0, host="127.0.0.1", dashboard_address=None) as empty:
        engine = EngineParams(kind="dask", address=empty.scheduler_address, connect_seconds=1)
        with pytest.raises(UserError, match="has no worker after 1 s; start at least one"):
            run_shards(write_square, [(Path("x"), 1)], "test", engine, threads=1)


def test_no_scheduler_is_named() -> None:
    nowhere = EngineParams(kind="dask", address="tcp://127.0.0.1:9", connect_seconds=1)
    with pytest.raises(UserError, match=r"engine\.address: no Dask scheduler at tcp://127\.0\.0\.1:9"):
        run_shards(write_square, [(Path("x"), 1)], "test", nowhere, threads=1)


@pytest.mark.slow
def test_the_command_of_infra_starts_a_cluster_and_stops_on_a_signal() -> None:
    command = [sys.executable, "-m", "infra.dask_cluster", "--workers", "1", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stdout.readline().startswith("tcp://127.0.0.1:")
        running.send_signal(signal.SIGTERM)
        assert running.wait(timeout=120) == 0
