"""Processes that do not outlive who they work for.

Killing dvc, or the flow that drives it, would otherwise leave the stage writing to its outputs: dvc runs a stage
through a shell, and neither passes a kill on.
"""

import contextlib
import ctypes
import os
import signal
import sys
import threading
import time

import psutil

_PR_SET_PDEATHSIG = 1


def die_with_parent(sign: signal.Signals = signal.SIGTERM) -> None:
    """Ask the kernel to send `sign` to this process when its parent ends, however it ends (Linux; no-op elsewhere)."""
    if not sys.platform.startswith("linux"):
        return
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, sign, 0, 0, 0)
    if os.getppid() != parent:  # it ended between the two calls
        os.kill(os.getpid(), sign)


def die_with_dvc() -> None:
    """End this process within a second of the dvc that started it; without one, nothing happens."""
    die_with_parent()
    for ancestor in psutil.Process().parents():
        with contextlib.suppress(psutil.Error):  # it may end, or be another user's
            if any("dvc" in part for part in ancestor.cmdline()[:3]):
                threading.Thread(target=_watch, args=(ancestor,), daemon=True).start()
                return


def _watch(process: psutil.Process) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)
