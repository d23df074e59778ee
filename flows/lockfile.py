"""Detect and repair a half-written dvc.lock: DVC writes it in place, so a killed dvc can leave it incomplete.

Every dvc command fails on such a file. It is replaced by the last committed dvc.lock, or removed. Outputs made since
then come from DVC's run cache, so nothing is recomputed.
"""

import time
from pathlib import Path

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


def repair_lockfile(root: Path) -> str:
    """Replace a broken dvc.lock by the last committed one, or remove it; returns a description of the repair."""
    path, committed = root / "dvc.lock", git(root, "show", "HEAD:./dvc.lock", check=False)
    if is_whole(committed):
        with whole_file(path) as partial:
            partial.write_text(committed + "\n", encoding="utf-8")
        return "restored the last committed one"
    path.unlink()
    return "removed it"
