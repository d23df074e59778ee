"""Copies of the user's own files: one a content, none half written, read when the file has changed."""

import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from components.base.errors import UserError
from components.data.kept_files import FOLDER
from components.data.local_files import listed_files
from tests.data.own_files import KEY, ROW, checkout_with, listed, own_data, parameters, texts_read, write


def copies(root: Path) -> list[str]:
    """Texts of the copies that are kept."""
    return sorted(copy.read_text(encoding="utf-8") for copy in (root / "outputs" / FOLDER).glob("*"))


def test_what_has_changed_since_it_was_listed_is_read_from_its_copy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, edited = own_data("my")(tmp_path), ROW.replace("Hold", "Push")
    listed(root)
    assert texts_read(root) == {"a.jsonl": ROW, "deep/b.jsonl": ROW}
    assert not (root / "place").exists(), "the user's own files are read where they are as listed"
    write(root / "my/a.jsonl", edited)
    assert texts_read(root) == {"a.jsonl": ROW, "deep/b.jsonl": ROW}
    shutil.rmtree(root / "my")
    assert texts_read(root) == {"a.jsonl": ROW, "deep/b.jsonl": ROW}
    assert capsys.readouterr().out.count("the copy that DVC keeps is read") == 2


@pytest.mark.parametrize("path", ["../data/*.jsonl", "my/../../data/*.jsonl"])
def test_copies_of_a_glob_above_the_checkout_are_laid_out_in_their_place(tmp_path: Path, path: str) -> None:
    root = checkout_with(tmp_path / "root", path)
    (root / "my").mkdir()
    write(tmp_path / "data/.a.jsonl.swp.jsonl")
    file = write(tmp_path / "data/a.jsonl")
    before = json.loads(listed(root))[KEY]["files"]
    assert list(before) == ["data/a.jsonl"], "a hidden file is left out"
    file.unlink()
    item, place = parameters(root).sources["faq"], root / ".cache" / "work" / "laid"
    with listed_files(item, KEY, root / "outputs", root, place) as found:
        assert found is not None
        assert (found[0].root / found[0].names[0]).read_text() == ROW
    assert [file.relative_to(root).as_posix() for file in root.rglob("a.jsonl")] == [".cache/work/laid/data/a.jsonl"]


def test_a_copy_is_kept_for_each_content_and_no_other(tmp_path: Path) -> None:
    root = own_data("my")(tmp_path)
    listed(root)
    assert copies(root) == [ROW], "two files of one content"
    (copy,) = (root / "outputs" / FOLDER).glob("*")
    made = copy.stat().st_mtime_ns
    (copy.parent / ".left-by-a-kill").touch()
    (root / "my/a.jsonl").rename(root / "my/c.jsonl")
    write(root / "my/b.jsonl", ROW * 2)
    listed(root)
    assert copies(root) == [ROW, ROW * 2]
    assert copy.stat().st_mtime_ns == made, "a renamed file is not copied again"
    assert copy.stat().st_ino != (root / "my/c.jsonl").stat().st_ino, "DVC makes its files read-only"
    checkout_with(root, "my", keep=False)
    listed(root)
    assert copies(root) == []


def test_a_file_that_is_being_written_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = own_data("my/a.jsonl")(tmp_path)
    monkeypatch.setattr("components.base.hash_index.HashIndex.hash", lambda index, path: "0" * 64)
    with pytest.raises(UserError, match=r"my/a\.jsonl: is being written; run again when it is complete"):
        listed(root)
    assert copies(root) == []


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*streams: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    root = own_data("my/a.jsonl")(tmp_path)
    for module in ("fcntl.ioctl", "shutil.copyfileobj"):
        monkeypatch.setattr(f"components.data.kept_files.{module}", full)
    with pytest.raises(UserError, match=r"my/a\.jsonl: cannot be copied to .* \(No space left on device\); free disk"):
        listed(root)
    assert not list((root / "outputs" / FOLDER).iterdir())
