"""A dvc.lock or rwlock that a killed dvc left half-written is repaired, but not one that a dvc is just writing."""

from pathlib import Path

import pytest

from components.base.locks import try_lock
from components.tracking import lockfile
from components.tracking.store import tracking_folder
from components.tracking.uploader import Uploader


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A checkout outside git in which dvc was killed twice."""
    (tmp_path / ".dvc" / "tmp").mkdir(parents=True)
    (tmp_path / ".dvc" / "tmp" / "rwlock").write_bytes(b"")
    (tmp_path / "dvc.lock").write_text("schema: '2.0'\nstages: {a")
    return tmp_path


def test_both_files_are_repaired_once(root: Path) -> None:
    assert lockfile.read_rwlock(root) is None
    assert [line.rpartition(": ")[2] for line in lockfile.repair_files(root)] == ["removed it", "removed it"]
    assert not lockfile.rwlock(root).exists()
    assert not (root / "dvc.lock").exists()
    assert lockfile.repair_files(root) == []


@pytest.mark.parametrize(("held", "repaired"), [("lock", "rwlock"), ("rwlock.lock", "dvc.lock")])
def test_a_file_that_is_just_being_written_is_left_alone(root: Path, held: str, repaired: str) -> None:
    with try_lock(root / ".dvc" / "tmp" / held):
        [line] = lockfile.repair_files(root)
    assert f"{repaired} was" in line


def test_whole_files_are_read_and_nothing_is_made(tmp_path: Path) -> None:
    assert lockfile.repair_files(tmp_path) == []
    assert lockfile.read_rwlock(tmp_path) == {}
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "dvc.lock").write_text("schema: '2.0'\nstages: {}\n")
    assert not lockfile.is_broken(tmp_path)


def test_a_file_is_repaired_whenever_it_is_left_invalid(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    repairs = lockfile.Repairs()
    with try_lock(root / ".dvc" / "tmp" / "rwlock.lock"):  # a dvc that writes, and is killed with the file as it is
        repairs.repair(root)
        assert lockfile.rwlock(root).exists()
    repairs.repair(root)
    assert not lockfile.rwlock(root).exists()
    lockfile.rwlock(root).write_text("{}")
    capsys.readouterr()
    repairs.repair(root)
    assert (capsys.readouterr().out, lockfile.rwlock(root).exists()) == ("", True)
    lockfile.rwlock(root).write_text("")
    repairs.repair(root)
    assert "rwlock was left invalid by a killed dvc: removed it" in capsys.readouterr().out


def test_the_upload_process_repairs_without_a_journal(root: Path) -> None:
    tracking = tracking_folder(root)
    assert not Uploader(tracking).round()
    assert not lockfile.rwlock(root).exists()
