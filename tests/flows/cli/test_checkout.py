"""The code that runs is the code of the checkout one is in, whichever checkout the installed script belongs to."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from components.base.errors import UserError
from components.tracking.snapshot import snapshot
from flows.cli.checkout import require_git
from tests.command import foundry
from tests.samples import ROOT

# What pip writes as the script: the installed package is imported, the current folder is not on sys.path.
SCRIPT = "import sys; from flows.cli.main import main; sys.argv[0] = 'foundry'; main()"


def script(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """The console script of the repository's installation, started in `folder`."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONSAFEPATH": "1"}
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments], cwd=folder, env=env, capture_output=True, text=True, check=False
    )


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """Another checkout, whose table says where it comes from."""
    root = tmp_path / "other"
    for name in ("components", "flows"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    (root / "dvc.yaml").touch()
    (root / "components" / "evaluation" / "table.py").write_text(
        "import sys\ndef print_table(folder): print('table of the other checkout', sys.path[0], folder)\n"
    )
    return root


@pytest.mark.slow
def test_the_checkouts_own_code_runs(other: Path) -> None:
    done = script(other, "table")
    assert done.stdout == f"table of the other checkout {other} outputs/evaluate\n", done.stderr


@pytest.mark.slow
def test_from_a_folder_below_too(other: Path) -> None:
    """components/ has a package `statistics`, as the standard library does: it must not be found in its place."""
    assert script(other / "components", "table").stdout.startswith("table of the other checkout"), "the code"
    assert script(other / "components", "table").stdout.endswith(" outputs/evaluate\n"), "the folder"


def test_a_checkout_from_before_the_command_says_so(other: Path) -> None:
    shutil.rmtree(other / "flows" / "cli")
    done = script(other, "table")
    assert done.returncode == 1
    assert done.stderr == (
        f"error: {other}: this revision has no command foundry; see its own README, or check out a newer one\n"
    )


@pytest.mark.slow
def test_the_installed_code_runs_in_a_folder_without_code(tmp_path: Path) -> None:
    (tmp_path / "dvc.yaml").touch()
    done = script(tmp_path, "table")
    assert done.stderr == "error: outputs/evaluate/table.json: missing; run the evaluate stage (make run)\n"


@pytest.mark.slow
def test_the_exit_status_and_arguments_pass_through(other: Path) -> None:
    assert script(other, "stage", "no such").stderr.startswith("error: no such: no such stage; stages: local_files")
    assert script(other, "stage", "no such").returncode == 1


def test_a_command_works_from_a_folder_below(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(ROOT / "recipes", tmp_path / "recipes")
    (tmp_path / "dvc.yaml").touch()
    monkeypatch.chdir(tmp_path / "recipes")
    assert foundry("recipes", "list") == 0
    assert "starter " in capsys.readouterr().out


def test_a_folder_without_git_is_one_line_with_the_cure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"not a git repository \(a downloaded zip\?\); clone it instead, or: git init"):
        require_git(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="git is not installed"):
        require_git(tmp_path)


def test_a_folder_of_another_user_is_a_warning_with_git_s_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # git's own switch for its tests
    require_git(tmp_path)
    said = capsys.readouterr().err
    assert "git config --global --add safe.directory" in said
    assert "until then runs are not committed and cannot be reproduced" in said
    assert said.count("\n") == 1
    assert snapshot(tmp_path, "one", "why") == ""
