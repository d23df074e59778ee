"""The worker of compose.yaml runs DVC as any uid of the host, also one without a passwd entry."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.infra.local_stack import INFRA

UID = "54321"


def run_as(uid: str, command: list[str], folder: Path, env: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    """Run a command with this uid in a user namespace of its own; the test is left out where there are none."""
    inside = ["unshare", "--user", f"--map-user={uid}", *command]
    kept = {"PATH": os.environ["PATH"], "PYTHONPATH": "", "DVC_NO_ANALYTICS": "1"}
    done = subprocess.run(inside, cwd=folder, env={**kept, **env}, capture_output=True, text=True, check=False)
    if "unshare" in done.stderr:
        pytest.skip(f"no user namespace here: {done.stderr}")
    return done


@pytest.mark.parametrize("service", ["worker", "worker-gpu"])
def test_dvc_runs_as_a_uid_without_a_passwd_entry(service: str, tmp_path: Path) -> None:
    variables = yaml.safe_load((INFRA / "compose.yaml").read_text(encoding="utf-8"))["services"][service]["environment"]
    env = {"HOME": str(tmp_path), "USER": variables["USER"]}
    who = [sys.executable, "-c", "import getpass, os; print(os.getuid(), getpass.getuser())"]
    assert run_as(UID, who, tmp_path, env).stdout.split() == [UID, "foundry"]
    dvc = [sys.executable, "-m", "dvc", "init", "--no-scm"]
    assert "uid not found" in run_as(UID, dvc, tmp_path, {"HOME": str(tmp_path)}).stderr, "what USER is set against"
    done = run_as(UID, [*dvc, "--force"], tmp_path, env)
    assert done.returncode == 0, done.stderr
