"""The engine: every shard once, the same bytes on threads and on a Dask cluster, and a dead worker loses nothing."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from components.base.errors import UserError
from components.base.files import whole_file
from components.config import EngineParams
from components.stage.executor import run_shards


def write_square(out: Path, number: int) -> None:
    with whole_file(out) as partial:
        partial.write_text(str(number**2), encoding="utf-8")


def die_once(out: Path, number: int) -> None:
    """Kills its own worker in the middle of the first shard, once."""
    mark = out.parent / "died"
    if number == 0 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    write_square(out, number)


def fail(out: Path, number: int) -> None:
    raise RuntimeError(f"shard {number} is broken")


def shards(folder: Path, number: int = 6) -> list[tuple[Any, ...]]:
    return [(folder / f"{i}.txt", i) for i in range(number)]


def written(folder: Path) -> list[str]:
    return [(folder / f"{i}.txt").read_text(encoding="utf-8") for i in range(6)]


def test_local_shards_run_once_each(tmp_path: Path) -> None:
    run_shards(write_square, shards(tmp_path), "test", EngineParams(), threads=2)
    assert written(tmp_path) == ["0", "1", "4", "9", "16", "25"]


def test_a_failing_shard_fails_the_run(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="is broken"):
        run_shards(fail, shards(tmp_path), "test", EngineParams(), threads=2)


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


def test_no_scheduler_is_named() -> None:
    nowhere = EngineParams(kind="dask", address="tcp://127.0.0.1:9")
    with pytest.raises(UserError, match=r"engine\.address: no Dask scheduler at tcp://127\.0\.0\.1:9"):
        run_shards(write_square, [(Path("x"), 1)], "test", nowhere, threads=1)


def test_address_goes_with_dask_only() -> None:
    with pytest.raises(ValueError, match="address"):
        EngineParams(kind="dask")
    with pytest.raises(ValueError, match="address"):
        EngineParams(address="tcp://127.0.0.1:9")


def test_the_command_of_infra_starts_a_cluster_and_stops_on_a_signal() -> None:
    command = [sys.executable, "-m", "infra.dask_cluster", "--workers", "1", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stdout.readline().startswith("tcp://127.0.0.1:")
        running.send_signal(signal.SIGTERM)
        assert running.wait(timeout=120) == 0
