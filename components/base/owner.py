"""Owner records of runs, locks and worktrees, and whether the owner process is provably dead.

A pid says little: pids are reused, a container has its own, and other machines write to the same MLflow. So an owner is
host, boot, PID namespace, pid, start time in clock ticks since boot (which does not move when the clock is set) and
checkout. What cannot be checked from here is `unseen`, never dead.
"""

import hashlib
import json
import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import psutil

from components.base.locks import is_free

FIRST_NAMESPACE = "pid:[4026531836]"  # PROC_PID_INIT_INO of the kernel
Owner = dict[str, Any]
Standing = Literal["alive", "dead", "unseen"]


def describe_owner(checkout: Path, pid: int | None = None) -> Owner:
    """The owner record of a process of this machine, this process by default."""
    pid = os.getpid() if pid is None else pid
    return {**_here(), "pid": pid, "ticks": _start_ticks(pid), "checkout": str(checkout)}


def read_owner(record: str) -> Owner:
    """The owner record in a text; empty, so unseen, if it is none."""
    try:
        who = json.loads(record)
    except ValueError:
        return {}
    return who if isinstance(who, dict) else {}


def owner_state(who: Mapping[str, Any], lock: Path | None = None) -> Standing:
    """Whether the owner runs, is dead, or cannot be seen from here (another host or PID namespace, an old record).

    Everything of an earlier boot of this machine is dead, if the machine has an id. A zombie is dead.

    lock: a file that the owner keeps locked while it runs; it tells of processes in other containers of this machine.
    """
    here = _here()
    if not who.get("boot"):
        return "unseen"
    if who["boot"] != here["boot"]:
        return "dead" if who.get("host") == here["host"] and _machine() else "unseen"
    if who.get("host") != here["host"] or who.get("namespace") != here["namespace"] or not _proc_is_ours():
        return "unseen" if lock is None or not is_free(lock) else "dead"
    ticks = _start_ticks(who["pid"])
    if ticks is None:
        return "unseen" if _exists(who["pid"]) else "dead"
    return "alive" if ticks == who.get("ticks") else "dead"


def is_own(who: Mapping[str, Any], checkout: Path) -> bool:
    """Whether the owner worked in this checkout, on this machine."""
    return who.get("checkout") == str(checkout) and who.get("host") == _here()["host"]


def sees_all_processes() -> bool:
    """Whether this process is in the machine's first PID namespace, so that no process is hidden from it."""
    return sys.platform != "linux" or (_here()["namespace"] == FIRST_NAMESPACE and _proc_is_ours())


def _here() -> Owner:
    """Machine, boot and PID namespace of this process."""
    return {
        "host": platform.node() + _machine(),
        "boot": _first_line(Path("/proc/sys/kernel/random/boot_id")),
        "namespace": os.readlink("/proc/self/ns/pid") if sys.platform == "linux" else "",
    }


def _machine() -> str:
    """A short hash of the machine's id, because cloned machines share host names; empty in most containers."""
    known = _first_line(Path("/etc/machine-id"))
    return "/" + hashlib.sha256(f"embedding-foundry {known}".encode()).hexdigest()[:12] if known else ""


def _first_line(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _proc_is_ours() -> bool:
    """Whether /proc shows the PID namespace of this process (not so after `unshare --pid` without a new /proc)."""
    return sys.platform != "linux" or os.readlink("/proc/self") == str(os.getpid())


def _start_ticks(pid: int) -> int | None:
    """Start of a process in clock ticks since boot; None if there is none, or it is a zombie."""
    if sys.platform != "linux":
        try:
            return int(psutil.Process(pid).create_time() * 100)
        except psutil.Error:
            return None
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def _exists(pid: int) -> bool:
    """Whether a process has this pid but /proc does not show it (mounted with hidepid). A zombie does not count."""
    if Path(f"/proc/{pid}").exists():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
