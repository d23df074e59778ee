"""Locks between processes: flock on a file, so no server is needed.

The kernel frees a lock when its holder ends, also after kill -9, and it works across containers that share the file.
The file holds a line about the holder, for the message of who waits; it is never deleted.
"""

import errno
import fcntl
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from components.base.errors import UserError

MACHINE = Path("/tmp")  # of locks for all users and checkouts; not TMPDIR, which differs between users
QUIET_SECONDS = 10.0  # what is waited for is printed after this time


@contextmanager
def try_lock(file: Path, shared: bool = False) -> Iterator[bool]:
    """Take the lock if it is free; yields whether it was. shared: beside other shared holders, and without a note."""
    descriptor = _open(file)
    try:
        taken = _try(descriptor, file, shared)
        if taken and not shared:
            _write_note(descriptor)
        yield taken
    finally:
        os.close(descriptor)


@contextmanager
def wait_for_lock(
    file: Path, say: Callable[[str], object], check: Callable[[], object] = lambda: None
) -> Iterator[None]:
    """Hold the lock, waiting for it as long as it takes.

    Args:
        say: called once with the holder, after ten seconds.
        check: called twice a second while waiting; it may raise to give up.
    """
    descriptor = _open(file)
    try:
        begin, said = time.monotonic(), False
        while not _try(descriptor, file):
            check()
            if not said and time.monotonic() - begin > QUIET_SECONDS:
                say(f"waiting for {file}: held by {lock_holder(file)}")
                said = True
            time.sleep(0.5)
        _write_note(descriptor)
        yield
    finally:
        os.close(descriptor)


def hold_open(descriptor: int) -> None:
    """Lock a file that this process has just created, until it is closed."""
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def is_free(file: Path) -> bool:
    """Whether the file exists and no process of this machine holds its lock."""
    try:
        with file.open("rb") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def lock_holder(file: Path) -> str:
    """The note of a lock's holder; meaningful only while the lock is held."""
    try:
        return file.read_text(encoding="utf-8", errors="replace").strip() or "another process"
    except OSError:
        return "another process"


def _open(file: Path) -> int:
    """Open a lock file that several users may share: no symbolic link, and O_CREAT only if it does not exist.

    (Linux refuses O_CREAT on another user's file in /tmp.)

    Raises:
        UserError: it cannot be opened, such as a link or a folder that someone has put there, or on a full disk.
    """
    try:
        descriptor = _open_or_create(file)
    except OSError as problem:
        full = problem.errno in (errno.ENOSPC, errno.EDQUOT)
        cure = "free disk space" if full else "remove it, or correct its rights"
        raise UserError(f"{file}: cannot be opened as a lock ({problem.strerror}); {cure}") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UserError(f"{file}: not a regular file; remove it")
    return descriptor


def _open_or_create(file: Path) -> int:
    file.parent.mkdir(parents=True, exist_ok=True)
    flags = os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(file, os.O_RDWR | flags)
    except FileNotFoundError:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | flags, 0o666)
        with suppress(PermissionError):  # another user created it in the meantime
            os.fchmod(descriptor, 0o666)
    except PermissionError:
        descriptor = os.open(file, os.O_RDONLY | flags)
    return descriptor


def _try(descriptor: int, file: Path, shared: bool = False) -> bool:
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as problem:
        raise UserError(f"{file}: cannot be locked ({problem.strerror}); move the checkout to a local disk") from None
    return True


def _write_note(descriptor: int) -> None:
    if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDWR:
        os.ftruncate(descriptor, 0)
        with suppress(OSError):  # a full disk: the lock holds without its note
            os.pwrite(descriptor, f"pid {os.getpid()} since {time.strftime('%Y-%m-%d %H:%M:%S')}\n".encode(), 0)
