"""Hashes by file: read again only when something about the file has changed, and never wrong."""

import os
from pathlib import Path

import pytest

from components.base import hash_index
from components.base.errors import UserError
from components.base.hash_index import SETTLED_NS, HashIndex
from components.base.hashing import file_hash


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that were read, in order."""
    read: list[str] = []

    def note(path: Path) -> str:
        read.append(path.name)
        return file_hash(path)

    monkeypatch.setattr(hash_index, "file_hash", note)
    return read


def written(path: Path, text: str, age_ns: int = 10 * SETTLED_NS) -> Path:
    """A file whose modification lies `age_ns` before the moment its status changed."""
    path.write_text(text)
    stat = path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns - age_ns))
    return path


def look_up(index: Path, path: Path) -> str:
    """As a process of its own does it."""
    known = HashIndex(index)
    digest = known.hash(path)
    known.save()
    return digest


def settle(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is hashed from now on counts as hashed long after its last change."""
    now = hash_index.time.time_ns()
    monkeypatch.setattr(hash_index.time, "time_ns", lambda: now + 2 * SETTLED_NS)


def test_an_unchanged_file_is_read_once(tmp_path: Path, hashed: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    file, index = written(tmp_path / "a", "one"), tmp_path / "index.json"
    settle(monkeypatch)
    assert {look_up(index, file) for _ in range(3)} == {file_hash(file)}
    assert hashed == ["a"]


def test_a_file_of_this_moment_is_read_again(tmp_path: Path, hashed: list[str]) -> None:
    file, index = written(tmp_path / "a", "one", age_ns=0), tmp_path / "index.json"
    look_up(index, file)
    look_up(index, file)
    assert hashed == ["a", "a"], "an edit within the same clock tick would leave size and times as they are"


def test_an_edit_of_the_same_size_with_its_old_time_put_back_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, index = written(tmp_path / "a", "one"), tmp_path / "index.json"
    settle(monkeypatch)
    before, stat = look_up(index, file), file.stat()
    while file.stat().st_ctime_ns == stat.st_ctime_ns:  # a tick of the file system's clock
        file.write_text("two")
        os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert file.stat().st_mtime_ns == stat.st_mtime_ns
    assert look_up(index, file) == file_hash(file) != before


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, index = written(tmp_path / "a", "one"), HashIndex(tmp_path / "index.json")

    def edited_meanwhile(path: Path) -> str:
        with path.open("a") as handle:
            handle.write("more")
        return "half"

    monkeypatch.setattr(hash_index, "file_hash", edited_meanwhile)
    with pytest.raises(UserError, match=r"/a: is being written; run again when it is complete$"):
        index.hash(file)


def test_a_file_that_cannot_be_read_and_a_spoiled_index(tmp_path: Path) -> None:
    (tmp_path / "index.json").write_text('{"half')
    index = HashIndex(tmp_path / "index.json")
    with pytest.raises(UserError, match=r"/none: cannot be read \(No such file or directory\)"):
        index.hash(tmp_path / "none")
    assert index.hash(written(tmp_path / "a", "one")) == file_hash(tmp_path / "a")


def test_a_deleted_file_was_seen(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    file, index = written(tmp_path / "in" / "a.txt", "one"), HashIndex(tmp_path / "index.json")
    index.hash(file)
    file.unlink()
    assert all(index.has_seen(str(tmp_path / place)) for place in ("in", "in/a.txt", "in/*.txt", "*/a.txt"))
    assert not any(index.has_seen(str(tmp_path / place)) for place in ("i", "in/b.txt", "in/*.csv"))
