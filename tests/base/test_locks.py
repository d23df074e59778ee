"""Locks between processes: what stands in a lock file's place is one line, and a full disk takes no lock away."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from components.base.errors import UserError
from components.base.locks import lock_holder, try_lock


def test_what_somebody_put_in_the_place_of_a_lock_is_one_line(tmp_path: Path) -> None:
    link, folder, pipe = (tmp_path / name for name in ("link", "folder", "pipe"))
    link.symlink_to(tmp_path / "elsewhere")
    folder.mkdir()
    os.mkfifo(pipe)
    for place in (link, folder, pipe):
        with pytest.raises(UserError, match=rf"^{place}: .*remove it"), try_lock(place):
            pass
    assert not (tmp_path / "elsewhere").exists()


def test_a_lock_on_a_full_disk_holds_without_its_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", refuse)
    with try_lock(tmp_path / "lock") as first, try_lock(tmp_path / "lock") as second:
        assert (first, second) == (True, False)
        assert lock_holder(tmp_path / "lock") == "another process"
    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(UserError, match=r"No space left on device.*; free disk space"), try_lock(tmp_path / "other"):
        pass
