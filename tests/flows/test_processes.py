"""A child is streamed, limited in time, and leaves nothing behind."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from flows.processes import StoppedError, allow_running, run_streamed, stop_running

SLEEPER = (
    "import subprocess, sys, time; p = subprocess.Popen(['sleep', '60']); print(p.pid, flush=True); time.sleep(60)"
)


@pytest.fixture(autouse=True)
def _allowed() -> None:
    allow_running()


def wait_for(what: Callable[[], object], seconds: float = 60) -> None:
    """Poll until `what` is true; an assertion error when it never is."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_lines_and_exit_status(tmp_path: Path) -> None:
    lines: list[str] = []
    code = r"import sys; sys.stdout.write('one\ntwo\rthree\n'); sys.stderr.write('four\n'); sys.exit(7)"
    assert run_streamed([sys.executable, "-c", code], tmp_path, os.environ, lines.append, 60) == 7
    assert sorted(lines) == ["four", "one", "three", "two"]


@pytest.mark.slow
def test_time_limit_ends_the_grandchild_too(tmp_path: Path) -> None:
    lines: list[str] = []
    with pytest.raises(TimeoutError):
        run_streamed([sys.executable, "-c", SLEEPER], tmp_path, os.environ, lines.append, 3)
    wait_for(lambda: gone(int(lines[0])))


@pytest.mark.slow
def test_stop_from_another_thread(tmp_path: Path) -> None:
    lines: list[str] = []
    threading.Timer(1, stop_running).start()
    with pytest.raises(StoppedError):
        run_streamed([sys.executable, "-c", SLEEPER], tmp_path, os.environ, lines.append, 60)


def test_a_grandchild_holding_the_pipe_is_not_waited_for(tmp_path: Path) -> None:
    begin = time.monotonic()
    code = "import subprocess; subprocess.Popen(['sleep', '60'])"
    assert run_streamed([sys.executable, "-c", code], tmp_path, os.environ, lambda line: None, 60) == 0
    assert time.monotonic() - begin < 30


def test_kill_9_of_the_parent_ends_the_child(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from flows.processes import run_streamed;"
        "run_streamed(['sleep', '60'], Path('.'), {**os.environ, 'MARK': sys.argv[1]}, print, 60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=Path(__file__).parents[2])
    wait_for(lambda: psutil.Process(parent.pid).children())
    child = psutil.Process(parent.pid).children()[0].pid
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    wait_for(lambda: gone(child))
