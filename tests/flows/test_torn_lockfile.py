"""A dvc killed while it writes dvc.lock: the next run restores everything, and computes nothing again."""

import subprocess
from pathlib import Path

import pytest
import yaml

from components.tracking import lockfile
from flows import doctor
from flows.dag import run_dvc
from flows.pipeline import pipeline


@pytest.fixture
def done(toy: Path, warm_commands: None, prefect_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The toy has run; its dvc.lock."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # nothing listens there: nothing is uploaded
    run_dvc(toy, "repro")
    return (toy / "dvc.lock").read_text()


@pytest.mark.slow
def test_a_run_after_half_a_lock_restores_and_computes_nothing(toy: Path, done: str) -> None:
    for written in (0, done.index("  left:") + 4):
        (toy / "dvc.lock").write_text(done[:written])
        lockfile.rwlock(toy).write_bytes(b"")
        assert lockfile.is_broken(toy)
        assert set(pipeline(root=str(toy)).values()) == {"restored from the run cache"}
        assert yaml.safe_load((toy / "dvc.lock").read_text()) == yaml.safe_load(done)


@pytest.mark.slow
def test_the_last_committed_lock_is_put_back(toy: Path, done: str) -> None:
    subprocess.run(["git", "add", "-f", "dvc.lock"], cwd=toy, check=True)
    subprocess.run(["git", "commit", "-qm", "ran"], cwd=toy, check=True)
    (toy / "dvc.lock").write_text(done[: len(done) - 5] + "\n:")
    said: list[str] = []
    doctor.repair_all(toy, look=False, say=said.append)
    assert any("dvc.lock is half-written: restored the last committed one" in line for line in said)
    assert (toy / "dvc.lock").read_text() == done
