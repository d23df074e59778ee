"""Copies of the user's own files below outputs/local_files, which DVC versions and shares.

So the stages after them can be rerun on the bytes of then, when the user's files have changed since or are not on this
machine: an old run is reproduced, also in a fresh clone with the remote, and when fetch's code has changed.

A copy is named by its sha256, so two sources share it and a renamed file is not copied again. On a file system with
reflinks (XFS, btrfs) it takes no space, elsewhere the file's size here and once more in DVC's cache. It is no hard
link: DVC makes files of its cache read-only, and an edit in place would change the version of then. `keep: false` of
an origin turns the copies off.
"""

import fcntl
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from components.base.errors import UserError
from components.base.files import whole_file
from components.base.hashing import file_hash

FOLDER = Path("local_files") / "files"  # below outputs
_FICLONE = 0x40049409  # of linux/fs.h: share the blocks of another file


def keep_files(root: Path, hashes: Mapping[str, str], outputs: Path) -> None:
    """Copy the files of `hashes` (names below `root` -> sha256), unless their copies are there.

    Raises:
        UserError: a file is not the one that was hashed, as it is being written; or it cannot be copied.
    """
    for name, digest in hashes.items():
        source, target = root / name, outputs / FOLDER / digest
        if target.is_file() and target.stat().st_size == source.stat().st_size:
            continue
        with whole_file(target) as partial:
            try:
                _clone_or_copy(source, partial)
            except OSError as problem:
                partial.unlink(missing_ok=True)
                why = f"cannot be copied to {target.parent} ({problem.strerror})"
                raise UserError(f"{source}: {why}; free disk space, or set keep: false for its origin") from None
            if file_hash(partial) != digest:
                partial.unlink()
                raise UserError(f"{source}: is being written; run again when it is complete")


def drop_others(wanted: Iterable[str], outputs: Path) -> None:
    """Delete the copies whose sha256 is not in `wanted`, and what a killed run has left of one."""
    folder, names = outputs / FOLDER, set(wanted)
    for copy in folder.iterdir() if folder.is_dir() else []:
        if copy.name not in names:
            copy.unlink()
    if folder.is_dir() and not names:
        folder.rmdir()


def are_kept(hashes: Mapping[str, str], outputs: Path) -> bool:
    """Whether there is a copy of every file."""
    return all((outputs / FOLDER / digest).is_file() for digest in hashes.values())


def lay_out(hashes: Mapping[str, str], outputs: Path, place: Path) -> Path:
    """The copies under the names of their files, as symbolic links in the new folder `place`; returns it."""
    shutil.rmtree(place, ignore_errors=True)
    for name, digest in hashes.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).symlink_to((outputs / FOLDER / digest).resolve())
    return place


def _clone_or_copy(source: Path, target: Path) -> None:
    with source.open("rb") as read, target.open("wb") as write:
        try:
            fcntl.ioctl(write, _FICLONE, read.fileno())
        except OSError:  # another file system, or one without reflinks
            shutil.copyfileobj(read, write, 1 << 20)
