"""A watchdog of this process: when no step ends for some time, its stack goes to a file and the process ends.

Of several processes that train together, one that stands still keeps all others waiting for good. The stack is written
by a thread of the interpreter that needs no lock, so it also works while a CUDA or NCCL call never returns.
"""

import faulthandler
import re
from pathlib import Path
from typing import IO

_LINE = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+) in (?P<function>\S+)')
_armed: list[tuple[float, IO[str]]] = []


def arm(seconds: float, file: Path) -> None:
    """Begin to watch; `beat` must follow within `seconds`, again and again."""
    _armed.append((seconds, file.open("w", encoding="utf-8")))
    beat()


def beat() -> None:
    """A step has ended. Nothing happens in a process without a watchdog."""
    if _armed:
        seconds, file = _armed[-1]
        faulthandler.dump_traceback_later(seconds, file=file, exit=True)


def disarm() -> None:
    """The work has ended."""
    faulthandler.cancel_dump_traceback_later()
    while _armed:
        _armed.pop()[1].close()


def last_line(file: Path) -> str | None:
    """Where the main thread of a process that was ended stood: "components/training/step.py:70 in run"."""
    said = file.read_text(encoding="utf-8") if file.is_file() else ""
    frames = [match for match in map(_LINE.search, said.rpartition("Thread 0x")[2].splitlines()) if match]
    own = [frame for frame in frames if "/components/" in frame["file"]] or frames
    if not own:
        return None
    place = own[0]["file"].rpartition("/components/")
    return f"{'components/' if place[1] else ''}{place[2]}:{own[0]['line']} in {own[0]['function']}"
