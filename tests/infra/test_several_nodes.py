"""several_nodes.sh: one pod clones and runs, the others wait, train with it, and end when it ends."""

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.infra.local_stack import INFRA

pytestmark = pytest.mark.timeout(60)
SCRIPT = INFRA / "images" / "several_nodes.sh"
Pod = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def pod(tmp_path: Path) -> Pod:
    """Starts the script as pod `index` in `folder`; `foundry join` leaves its process id in the file `joined`."""
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "foundry").write_text('#!/bin/sh\necho "$*" >> joined\nexec sleep 30\n')
    (programs / "git").write_text('#!/bin/sh\nsleep 0.2\nmkdir -p "$5/.git"\necho "$*" > "$5/clone"\n')
    for program in programs.iterdir():
        program.chmod(0o755)

    def start(index: int, *arguments: str, folder: Path = tmp_path) -> "subprocess.Popen[str]":
        env = {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "JOB_COMPLETION_INDEX": str(index)}
        return subprocess.Popen(["sh", str(SCRIPT), *arguments], cwd=folder, env=env, stderr=subprocess.PIPE, text=True)

    return start


@pytest.mark.slow
def test_pod_0_clones_and_the_others_wait_for_it(pod: Pod, tmp_path: Path) -> None:
    project = tmp_path / "project"
    other = pod(1, "checkout", "main", "https://git", str(project))
    time.sleep(0.1)
    assert other.poll() is None
    assert pod(0, "checkout", "main", "https://git", str(project)).wait(20) == 0
    assert other.wait(20) == 0
    assert (project / "clone").read_text() == f"clone --branch main https://git {project}\n"


@pytest.mark.slow
@pytest.mark.parametrize("status", [0, 3])
def test_the_others_train_until_the_run_ends_and_a_failed_runs_folder_stays(
    pod: Pod, tmp_path: Path, status: int
) -> None:
    run = tmp_path / "run"
    (run / ".git").mkdir(parents=True)
    other = pod(1, "run", "true", folder=run)
    wait = f"while [ ! -e joined ]; do sleep 0.1; done; touch made; exit {status}"
    assert pod(0, "run", "sh", "-c", wait, folder=run).wait(20) == status
    assert other.wait(20) == 0
    assert (run / "made").exists() == (status != 0)
    if status:
        assert (run / "joined").read_text() == "join train\n"
    assert (run / ".git" / "foundry-ended").exists()


def test_a_pod_of_another_kind_of_job_is_refused(tmp_path: Path) -> None:
    done = subprocess.run(["sh", str(SCRIPT), "run", "true"], env={"PATH": os.environ["PATH"]}, capture_output=True)
    assert done.returncode != 0
    assert b"JOB_COMPLETION_INDEX" in done.stderr
