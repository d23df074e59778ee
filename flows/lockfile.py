"""Detect and repair a half-written dvc.lock or rwlock: DVC writes them in place, so a killed dvc can leave them so.

Every dvc command fails on such a file. The rwlock is removed. The dvc.lock is replaced by the last committed one, or
removed: outputs made since then come from DVC's run cache, so nothing is recomputed.
"""

import json
import time
from pathlib import Path
from typing import Any

import yaml

from components.base.files import whole_file
from components.tracking.snapshot import git

WRITING_SECONDS = 2.0  # a running dvc finishes writing within this time


def is_whole(text: str) -> bool:
    """Whether DVC accepts this text as a dvc.lock."""
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA
    from voluptuous import Invalid

    try:
        COMPILED_LOCKFILE_SCHEMA(yaml.safe_load(text))
    except (Invalid, yaml.YAMLError):
        return False
    return True


def is_broken(root: Path) -> bool:
    """Whether `root` has an incomplete dvc.lock that no running dvc is writing."""
    path, deadline = root / "dvc.lock", time.monotonic() + WRITING_SECONDS
    while path.exists() and not is_whole(path.read_text(encoding="utf-8", errors="replace")):
        if time.monotonic() > deadline:
            return True
        time.sleep(0.1)
    return False


def read_rwlock(root: Path) -> dict[str, Any] | None:
    """DVC's rwlock, empty if there is none; None if it stays invalid for longer than DVC needs to write it."""
    path, deadline = rwlock(root), time.monotonic() + WRITING_SECONDS
    while path.exists():
        try:
            return dict(json.loads(path.read_text(encoding="utf-8")))
        except ValueError:
            if time.monotonic() > deadline:
                return None
        time.sleep(0.1)
    return {}


def rwlock(root: Path) -> Path:
    """The file in which DVC notes what its commands read and write; every command fails if it is invalid."""
    return root / ".dvc" / "tmp" / "rwlock"


def repair_files(root: Path) -> list[str]:
    """Repair both files before a run that holds the checkout's lock; returns a line for each repair."""
    done = []
    if read_rwlock(root) is None:
        rwlock(root).unlink()
        done.append(f"{rwlock(root)} was left invalid by a killed dvc: removed it")
    if is_broken(root):
        done.append(f"dvc.lock was half-written by a killed dvc: {repair_lockfile(root)}")
    return done


def repair_lockfile(root: Path) -> str:
    """Replace a broken dvc.lock by the last committed one, or remove it; returns a description of the repair."""
    path, committed = root / "dvc.lock", git(root, "show", "HEAD:./dvc.lock", check=False)
    if is_whole(committed):
        with whole_file(path) as partial:
            partial.write_text(committed + "\n", encoding="utf-8")
        return "restored the last committed one"
    path.unlink()
    return "removed it"
