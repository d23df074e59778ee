"""A snapshot holds what ran and touches nothing."""

import subprocess
from pathlib import Path

import pytest

from components.base.errors import UserError
from components.tracking.snapshot import resolve_commit, snapshot
from components.tracking.versions import code_version
from tests.checkouts import make_repository


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A git repository with a file of code, and a dvc.lock that is not committed."""
    (tmp_path / "code.py").write_text("pass\n")
    make_repository(tmp_path)
    (tmp_path / "dvc.lock").write_text("schema: '2.0'\n")
    return tmp_path


@pytest.mark.slow
def test_snapshot_holds_lock_and_edits_and_leaves_the_user_s_index_alone(repository: Path) -> None:
    def run(*command: str) -> str:
        return subprocess.run(["git", *command], cwd=repository, capture_output=True, text=True, check=True).stdout

    (repository / "code.py").write_text("edited = True\n")
    before = run("status", "--porcelain", "--branch")
    commit = snapshot(repository, "one", "why")
    assert run("status", "--porcelain", "--branch") == before
    assert run("show", f"{commit}:code.py") == "edited = True\n"
    assert run("show", f"{commit}:dvc.lock") == (repository / "dvc.lock").read_text()
    assert resolve_commit(repository, "one") == commit
    assert code_version(repository)["git.dirty"] == "true"
    with pytest.raises(UserError, match="git for-each-ref refs/runs"):
        resolve_commit(repository, "two")


def test_outside_git_there_is_no_snapshot(tmp_path: Path) -> None:
    assert snapshot(tmp_path, "one", "why") == ""
    assert code_version(tmp_path) == {}


@pytest.mark.slow
def test_untracked_files_of_any_name_are_in_the_snapshot(repository: Path) -> None:
    folder = repository / "components"
    folder.mkdir(exist_ok=True)
    names = ["Prüfung.py", 'a "b"\tc.py', "new\nline.py", " leading.py"]
    for name in names:
        (folder / name).write_text("pass\n")
    commit = snapshot(repository, "odd", "why")
    listed = ["git", "ls-tree", "-rz", "--name-only", commit, "components/"]
    found = subprocess.run(listed, cwd=repository, capture_output=True, text=True, check=True).stdout
    assert set(found.split("\0")) >= {f"components/{name}" for name in names}


def test_git_s_refusal_is_a_warning_with_its_cause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert snapshot(tmp_path, "zip", "why") == ""
    assert "warning: git rev-parse: fatal: not a git repository" in (said := capsys.readouterr().err)
    assert said.count("\n") == 1
    assert "run zip has no commit, so it cannot be reproduced" in said
    monkeypatch.setenv("PATH", str(tmp_path))
    assert snapshot(tmp_path, "zip", "why") == ""
    assert "git is not installed" in capsys.readouterr().err
