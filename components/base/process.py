"""End a child process when its parent, or the dvc that started it, ends.

Without this, killing dvc or the flow leaves the stage running and writing to its outputs: dvc runs a stage through a
shell, and neither forwards a kill.
"""

import contextlib
import ctypes
import os
import signal
import sys
import threading
import time
from pathlib import Path

import psutil

_PR_SET_PDEATHSIG = 1


def die_with_parent(sign: signal.Signals = signal.SIGTERM) -> None:
    """Ask the kernel to send `sign` to this process when its parent ends, also by SIGKILL (Linux; no-op elsewhere)."""
    if not sys.platform.startswith("linux"):
        return
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, sign, 0, 0, 0)
    if os.getppid() != parent:  # the parent ended between the two calls
        os.kill(os.getpid(), sign)


def die_with_dvc() -> None:
    """End this process within a second after the dvc that started it ends. No-op if dvc did not start it."""
    die_with_parent()
    dvc = find_dvc()
    if dvc is not None:
        threading.Thread(target=_watch, args=(dvc,), daemon=True).start()


def find_dvc() -> psutil.Process | None:
    """The dvc that runs this process as the command of a stage; None if none does."""
    for ancestor in psutil.Process().parents():
        with contextlib.suppress(psutil.Error):  # the process may have ended, or belong to another user
            if any(Path(part).name == "dvc" for part in ancestor.cmdline()[:4]):
                return ancestor
    return None


def _watch(process: psutil.Process) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)
