"""A watchdog of this process: without progress for some time, its stack is written to a file and the process ends.

Of several processes that train together, one that hangs blocks all others forever, and one alone keeps
its card. The stack is written by a thread of the interpreter that needs no lock, so it also works while a CUDA or NCCL
call never returns. The parent of the processes reads `last_line` of the file; a process without such a parent prints
it itself (`watched`).
"""

import faulthandler
import os
import re
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_LINE = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+) in (?P<function>\S+)')
_GRACE = 30.0  # seconds for the thread of `watched`, which a call that keeps the interpreter's lock keeps waiting


@dataclass
class _Watch:
    """file: for the stack. latest: when the last beat was."""

    seconds: float
    file: IO[str]
    latest: float = 0.0


_armed: list[_Watch] = []


def arm(seconds: float, file: Path) -> None:
    """Begin to watch; `beat` must follow within `seconds`, again and again."""
    _armed.append(_Watch(seconds, file.open("w", encoding="utf-8")))
    beat()


def beat() -> None:
    """Report progress: a row, a step. Nothing happens in a process without a watchdog."""
    if _armed:
        watch = _armed[-1]
        watch.latest = time.monotonic()
        faulthandler.dump_traceback_later(watch.seconds, file=watch.file, exit=True)


def disarm() -> None:
    """The work has ended."""
    faulthandler.cancel_dump_traceback_later()
    while _armed:
        _armed.pop().file.close()


@contextmanager
def watched(name: str, seconds: float, file: Path) -> Iterator[None]:
    """Watch the block; a process that hangs prints one line with the place, and ends with status 1."""
    arm(seconds + _GRACE, file)
    ended = threading.Event()
    threading.Thread(target=_end_when_still, args=(name, seconds, file, _armed[-1], ended), daemon=True).start()
    try:
        yield
    finally:
        ended.set()
        disarm()


def _end_when_still(name: str, seconds: float, file: Path, watch: _Watch, ended: threading.Event) -> None:
    while not ended.wait(max(0.0, watch.latest + seconds - time.monotonic())):
        if time.monotonic() < watch.latest + seconds:
            continue
        faulthandler.dump_traceback(watch.file)
        print(
            f"error: {name}: no progress within train.hang_seconds: {seconds:g}, at {last_line(file)}; the "
            "last checkpoint is kept: run it again to continue from there, or raise train.hang_seconds",
            file=sys.stderr,
            flush=True,
        )
        os._exit(1)


def last_line(file: Path) -> str | None:
    """The place of the main thread of a process that was ended: "components/training/step.py:70 in run"."""
    said = file.read_text(encoding="utf-8") if file.is_file() else ""
    frames = [match for match in map(_LINE.search, said.rpartition("Thread 0x")[2].splitlines()) if match]
    own = [frame for frame in frames if "/components/" in frame["file"]] or frames
    if not own:
        return None
    place = own[0]["file"].rpartition("/components/")
    return f"{'components/' if place[1] else ''}{place[2]}:{own[0]['line']} in {own[0]['function']}"
