"""Run a subprocess with streamed output and a timeout; its process group is always ended, also after kill -9."""

import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from components.base.process import die_with_parent

GRACE_SECONDS = 10.0

_stop_all = threading.Event()


class StoppedError(RuntimeError):
    """The subprocess was ended because the flow is ending."""


def run_streamed(
    command: Sequence[str], cwd: Path, env: Mapping[str, str], on_line: Callable[[str], None], seconds: float
) -> int:
    """Run `command` in its own process group; returns its exit status once the whole group has ended.

    Args:
        on_line: called with each line of stdout and stderr (a progress bar's redraws count as lines).
        seconds: the timeout.

    Raises:
        TimeoutError: the timeout expired; the group has been ended.
        StoppedError: `stop_running` was called.
    """
    process = subprocess.Popen(
        list(command),
        cwd=cwd,
        env=dict(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=die_with_parent,
    )
    try:
        _pump(process, on_line, time.monotonic() + seconds)
    finally:
        _end_group(process)
    return process.returncode


def stop_running() -> None:
    """End every subprocess of this flow run, and refuse to start new ones."""
    _stop_all.set()


def raise_if_stopped() -> None:
    """Raises StoppedError after `stop_running`."""
    if _stop_all.is_set():
        raise StoppedError("stopped with the flow")


def allow_running() -> None:
    """Allow subprocesses again, at the start of a flow run."""
    _stop_all.clear()


def _pump(process: "subprocess.Popen[bytes]", on_line: Callable[[str], None], deadline: float) -> None:
    assert process.stdout is not None
    rest, open_ = b"", True
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            raise_if_stopped()
            if time.monotonic() > deadline:
                raise TimeoutError("took longer than its time limit")
            if open_ and selector.select(timeout=0.5):
                data = os.read(process.stdout.fileno(), 65536)
                open_ = bool(data)
                rest = _lines(rest + data, on_line)
            elif _ended(process):  # the pipe is closed, or a grandchild that is not waited for keeps it open
                break
            elif not open_:
                time.sleep(0.02)
    _lines(rest + b"\n", on_line)


def _lines(data: bytes, on_line: Callable[[str], None]) -> bytes:
    *whole, rest = data.replace(b"\r", b"\n").split(b"\n")
    for line in whole:
        if line.strip():
            on_line(line.decode("utf-8", "replace").rstrip())
    return rest


def _ended(process: "subprocess.Popen[bytes]") -> bool:
    """Whether the process has exited. It is not reaped, so its group id stays valid until `_end_group`."""
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _end_group(process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + GRACE_SECONDS
    if not _ended(process):
        # DVC ignores SIGINT while its command runs, unless the command gets one too: signal the whole group.
        os.killpg(process.pid, signal.SIGINT)
    while not _ended(process) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdout is not None:
        process.stdout.close()
