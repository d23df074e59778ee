"""dvc.lock after a crash: DVC writes it in place, and a dvc killed while it writes leaves a part.

Every dvc command refuses such a file. The last committed dvc.lock takes its place, or none; what stages made since then
comes back from DVC's run cache, so nothing is computed again.
"""

import time
from pathlib import Path

import yaml

from components.base.files import whole_file
from components.tracking.snapshot import git

WRITING_SECONDS = 2.0  # a living dvc has written it by then


def is_whole(text: str) -> bool:
    """Whether DVC would read this as a dvc.lock."""
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA
    from voluptuous import Invalid

    try:
        COMPILED_LOCKFILE_SCHEMA(yaml.safe_load(text))
    except (Invalid, yaml.YAMLError):
        return False
    return True


def is_broken(root: Path) -> bool:
    """Whether `root` has a dvc.lock that is not whole, and not because a dvc is just writing it."""
    path, deadline = root / "dvc.lock", time.monotonic() + WRITING_SECONDS
    while path.exists() and not is_whole(path.read_text(encoding="utf-8", errors="replace")):
        if time.monotonic() > deadline:
            return True
        time.sleep(0.1)
    return False


def mend(root: Path) -> str:
    """Put the last committed dvc.lock in the place of a broken one, or remove it; says what was done."""
    path, committed = root / "dvc.lock", git(root, "show", "HEAD:./dvc.lock", check=False)
    if is_whole(committed):
        with whole_file(path) as partial:
            partial.write_text(committed + "\n", encoding="utf-8")
        return "put the last committed one in its place"
    path.unlink()
    return "removed it"
