"""Detect and repair a half-written dvc.lock or rwlock: DVC writes them in place, so a killed dvc can leave them so.

Every dvc command fails on such a file. The rwlock is removed. The dvc.lock is replaced by the last committed one, or
removed: outputs made since then come from DVC's run cache, so nothing is recomputed. DVC's own locks say whether a dvc
is just writing: rwlock.lock for the rwlock, the repository's lock for dvc.lock.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from components.base.files import whole_file
from components.base.locks import try_lock
from components.tracking.snapshot import git


def repair_files(root: Path) -> list[str]:
    """Repair both files unless a dvc is just writing them; returns a line for each repair.

    Each is repaired under DVC's lock for it, so that no dvc writes in between.
    """
    done = []
    with _left_invalid(root, "rwlock.lock", lambda: _read_json(rwlock(root)) is not None) as invalid:
        if invalid:
            rwlock(root).unlink(missing_ok=True)
            done.append(f"{rwlock(root)} was left invalid by a killed dvc: removed it")
    with _left_invalid(root, "lock", lambda: _is_whole_file(root / "dvc.lock")) as invalid:
        if invalid:
            done.append(f"dvc.lock was half-written by a killed dvc: {repair_lockfile(root)}")
    return done


class Repairs:
    """Repairs checkouts' files again and again; reads a file only when it changed since it was found valid."""

    def __init__(self) -> None:
        self._valid: dict[Path, tuple[int, int] | None] = {}

    def repair(self, root: Path) -> None:
        """Repair the files of a checkout unless nothing changed; prints a line for each repair."""
        valid = [self._is_valid(rwlock(root), lambda path: _read_json(path) is not None)]
        valid.append(self._is_valid(root / "dvc.lock", _is_whole_file))
        if not all(valid):
            for line in repair_files(root):
                print(line, flush=True)

    def _is_valid(self, path: Path, check: Callable[[Path], bool]) -> bool:
        """One that a running dvc is just writing is checked again: it may be killed with the file as it is now."""
        state = _file_state(path)
        if state != self._valid.get(path) and check(path):
            self._valid[path] = state
        return state == self._valid.get(path)


def rwlock(root: Path) -> Path:
    """The file in which DVC notes what its commands read and write; every command fails if it is invalid."""
    return _temporary(root) / "rwlock"


def read_rwlock(root: Path) -> dict[str, Any] | None:
    """DVC's rwlock, empty if there is none or a dvc is just writing it; None if it was left invalid."""
    noted = _read_json(rwlock(root))
    if noted is not None:
        return noted
    with try_lock(_temporary(root) / "rwlock.lock", shared=True) as nobody_writes:
        return _read_json(rwlock(root)) if nobody_writes else {}


def is_broken(root: Path) -> bool:
    """Whether `root` has an incomplete dvc.lock that no running dvc is writing."""
    with _left_invalid(root, "lock", lambda: _is_whole_file(root / "dvc.lock")) as invalid:
        return invalid


@contextmanager
def _left_invalid(root: Path, lock: str, is_valid: Callable[[], bool]) -> Iterator[bool]:
    """Whether a file is invalid and no dvc is writing it; DVC's lock for it is held meanwhile if it looked invalid."""
    if is_valid():
        yield False
        return
    with try_lock(_temporary(root) / lock, shared=True) as nobody_writes:
        yield nobody_writes and not is_valid()


def repair_lockfile(root: Path) -> str:
    """Replace a broken dvc.lock by the last committed one, or remove it; returns a description of the repair."""
    path, committed = root / "dvc.lock", git(root, "show", "HEAD:./dvc.lock", check=False)
    if is_whole(committed):
        with whole_file(path) as partial:
            partial.write_text(committed + "\n", encoding="utf-8")
        return "restored the last committed one"
    path.unlink()
    return "removed it"


def is_whole(text: str) -> bool:
    """Whether DVC accepts this text as a dvc.lock."""
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA
    from voluptuous import Invalid

    try:
        COMPILED_LOCKFILE_SCHEMA(yaml.load(text, Loader=yaml.CSafeLoader))
    except (Invalid, yaml.YAMLError):
        return False
    return True


def _is_whole_file(path: Path) -> bool:
    return not path.exists() or is_whole(path.read_text(encoding="utf-8", errors="replace"))


def _read_json(path: Path) -> dict[str, Any] | None:
    """The object in a file, empty if there is no file; None if it is not JSON."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}
    except ValueError:
        return None


def _file_state(path: Path) -> tuple[int, int] | None:
    """(modification time, size) of a file, None if there is none."""
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    return stat.st_mtime_ns, stat.st_size


def _temporary(root: Path) -> Path:
    """DVC's folder for the locks of a checkout."""
    return root / ".dvc" / "tmp"
