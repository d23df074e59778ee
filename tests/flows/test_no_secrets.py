"""Secrets in the environment of a run stay there: not in MLflow, Prefect, logs, git, nor any file of the checkout."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.base.daemon import HOST, free_port
from components.tracking.store import EXPERIMENT, connect, tracking_uri
from flows.servers import prefect_server
from tests.flows.conftest import give_database

PLANTED = {
    "AWS_ACCESS_KEY_ID": "planted-a",
    "AWS_SECRET_ACCESS_KEY": "planted-b",
    "HF_TOKEN": "planted-c",
    "MLFLOW_TRACKING_PASSWORD": "planted-d",
    "MLFLOW_TRACKING_TOKEN": "planted-e",
    "PREFECT_API_AUTH_STRING": "admin:planted-f",
}


@pytest.mark.slow
@pytest.mark.usefixtures("warm_commands")
def test_planted_secrets_are_found_nowhere(toy: Path, empty_prefect: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    give_database(toy, empty_prefect)
    for name in [name for name in os.environ if name.startswith("PREFECT_")]:
        monkeypatch.delenv(name)
    for name, value in {**PLANTED, "PREFECT_HOME": str(toy / ".cache" / "prefect"), "TOY_SLEEP": "0"}.items():
        monkeypatch.setenv(name, value)
    server = prefect_server(toy, port := free_port())
    monkeypatch.setenv("PREFECT_API_URL", f"http://{HOST}:{port}/api")
    said = ""
    try:
        server.wait_ready()
        for text in ("hello\n", "boom\n"):  # a run that goes well, and one whose stage fails
            (toy / "input.txt").write_text(text)
            done = subprocess.run(
                [sys.executable, "-m", "flows.cli", "pipeline"],
                cwd=toy,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
            said += done.stdout
            assert (done.returncode == 0) == (text == "hello\n"), done.stdout[-2000:]
    finally:
        server.stop()
    assert "planted" not in said

    client = connect(tracking_uri(toy))
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    assert {run.info.run_name for run in runs} == {"starter", "source", "left", "right", "join"}
    assert runs[0].data.tags
    assert [path for path, data in everything_kept(toy) if b"planted-" in data] == []


def everything_kept(root: Path) -> Iterator[tuple[str, bytes]]:
    """Every file of the checkout: MLflow's and Prefect's databases, artifacts, journals, logs; and every git object."""
    for path in sorted(root.rglob("*")):
        if path.is_file() and ".git" not in path.relative_to(root).parts:
            yield str(path.relative_to(root)), path.read_bytes()
    objects = ["git", "cat-file", "--batch-all-objects", "--batch"]
    yield "git", subprocess.run(objects, cwd=root, capture_output=True, check=True).stdout
