"""remote_run.sh: a job in a fresh clone finds the last run's data and leaves its own; failures are reported."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.infra.local_stack import INFRA

pytestmark = pytest.mark.timeout(300)

# What the pipeline does, as far as this script sees it: outputs, a dvc.lock on a commit under refs/runs, a tag.
RUN = """
set -eu
if [ -n "${EXPECT:-}" ]; then
    git show refs/runs/latest:dvc.lock > dvc.lock; dvc checkout --quiet; grep -q "$EXPECT" out
fi
rm -f out; echo "$1" > source
dvc repro --quiet
git add -f dvc.lock source
commit=$(git commit-tree -m "run $1" "$(git write-tree)")
git reset --quiet; git checkout --quiet -- source
git update-ref "refs/runs/run-$1" "$commit"; git update-ref refs/runs/latest "$commit"
git tag "model@$1" "$commit"
rm -f dvc.lock
"""


@pytest.fixture(scope="module")
def variables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    identity = {
        f"GIT_{who}_{what}": "test@example.invalid" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
    }
    home = str(tmp_path_factory.mktemp("home"))
    return {"PATH": path, "HOME": home, "DVC_NO_ANALYTICS": "1", **identity}


def sh(folder: Path, env: dict[str, str], *command: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory, variables: dict[str, str]) -> Path:
    """A bare repository with a one-stage pipeline. Do not write to it; see `origin`."""
    work = tmp_path_factory.mktemp("work")
    (work / "source").write_text("0\n")
    (work / "dvc.yaml").write_text("stages:\n  copy:\n    cmd: cp source out\n    deps: [source]\n    outs: [out]\n")
    (work / "run.sh").write_text(RUN)
    for command in (
        "git init --quiet -b main", "dvc init --quiet", "dvc config core.autostage false",
        "git add .", "git commit --quiet -m start", "git clone --quiet --bare . origin.git",
    ):  # fmt: skip
        done = sh(work, variables, *command.split())
        assert done.returncode == 0, done.stderr
    return work / "origin.git"


@pytest.fixture
def origin(template: Path, tmp_path: Path) -> Path:
    """The repository for one test, and a place for its DVC remote beside it."""
    return Path(shutil.copytree(template, tmp_path / "origin.git"))


def job(origin: Path, env: dict[str, str], name: str, *command: str) -> "subprocess.CompletedProcess[str]":
    """A fresh clone, thrown away as a pod's folder is, in which `command` runs under remote-run."""
    place = origin.parent / name
    assert sh(origin.parent, env, "git", "clone", "--quiet", str(origin), str(place)).returncode == 0
    remote = {"FOUNDRY_DVC_REMOTE": str(origin.parent / "store")}
    return sh(place, {**env, **remote}, str(INFRA / "images/remote_run.sh"), *command)


@pytest.mark.slow
def test_the_next_job_has_what_the_last_one_made(origin: Path, variables: dict[str, str]) -> None:
    first = job(origin, variables, "pod-1", "sh", "run.sh", "1")
    assert (first.returncode, first.stderr) == (0, "")
    refs = sh(origin, variables, "git", "for-each-ref", "--format=%(refname)").stdout.split()
    assert {"refs/runs/latest", "refs/runs/run-1", "refs/tags/model@1"} <= set(refs)
    second = job(origin, {**variables, "EXPECT": "1"}, "pod-2", "sh", "run.sh", "2")
    assert (second.returncode, second.stderr) == (0, "")
    assert sh(origin, variables, "git", "show", "refs/runs/latest:source").stdout == "2\n"
    stored = {path.read_text() for path in (origin.parent / "store").rglob("*") if path.is_file()}
    assert stored == {"1\n", "2\n"}, "the data of both runs, from pods that are gone"


@pytest.mark.slow
def test_a_failed_run_fails(origin: Path, variables: dict[str, str]) -> None:
    assert job(origin, variables, "pod", "sh", "-c", "exit 7").returncode == 7


@pytest.mark.slow
def test_a_repository_that_refuses_is_reported(origin: Path, variables: dict[str, str]) -> None:
    hook = origin / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    done = job(origin, variables, "pod", "git", "update-ref", "refs/runs/latest", "HEAD")
    assert done.returncode == 1
    assert "refs/runs/latest is not in the repository" in done.stderr


def test_the_address_of_the_remote_is_required(tmp_path: Path, variables: dict[str, str]) -> None:
    done = sh(tmp_path, variables, str(INFRA / "images/remote_run.sh"), "true")
    assert done.returncode != 0
    assert "address of the DVC remote" in done.stderr
