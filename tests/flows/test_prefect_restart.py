"""A Prefect server that is killed while a flow's GPU stage runs: the stage runs once, and the run ends well."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from components.base.daemon import HOST, free_port
from components.base.locks import is_free
from flows.gpu_slot import FOLDER
from flows.servers import prefect_server
from tests.flows.conftest import give_database
from tests.flows.test_processes import wait_for
from tests.warm import warm_executable

STAGE = """\
stages:
  train:
    cmd:
    - echo ran >> ran.txt
    - timeout 120 sh -c 'until test -e go; do sleep 0.1; done'
    - mkdir -p outputs/train && cp input.txt outputs/train/
    deps: [input.txt]
    outs: [outputs/train]
    meta: {gpu: true}
"""
CARD = f"of-test-{os.getpid()}"


@pytest.mark.slow
@pytest.mark.parametrize("again", [True, False], ids=["restarted", "dead"])
def test_a_gpu_stage_outlives_prefect_and_runs_once(
    toy: Path, empty_prefect: Path, monkeypatch: pytest.MonkeyPatch, again: bool
) -> None:
    (toy / "dvc.yaml").write_text(STAGE)
    give_database(toy, empty_prefect)
    monkeypatch.setenv("PREFECT_HOME", str(toy / ".cache" / "prefect"))
    with warm_executable():
        server = prefect_server(toy, port := free_port())
    env = {
        **os.environ,
        "PREFECT_API_URL": f"http://{HOST}:{port}/api",
        "PREFECT_CLIENT_MAX_RETRIES": "6" if again else "1",  # two minutes, or not long for one that stays dead
        "CUDA_VISIBLE_DEVICES": CARD,
        "MLFLOW_TRACKING_URI": "http://127.0.0.1:9",  # the discard port: nothing is uploaded
    }
    slot, log = FOLDER / f"embedding-foundry-gpu-{CARD}.lock", toy / ".cache" / "flow.log"
    try:
        server.wait_ready()
        with log.open("wb") as said:
            command = [sys.executable, "-m", "flows.cli", "pipeline"]
            flow = subprocess.Popen(command, cwd=toy, env=env, stdout=said, stderr=said)
        wait_for(lambda: (toy / "ran.txt").exists() or flow.poll() is not None, 120)
        os.killpg(server.process.pid, signal.SIGKILL)
        server.process.wait()
        if again:
            server.restart()
            server.wait_ready()
            crash_flow_run(env["PREFECT_API_URL"], flow_runs(toy)[0][0])
        assert slot.exists()
        assert not is_free(slot), "no server keeps the slot"
        (toy / "go").touch()
        assert flow.wait(180) == 0, log.read_text()[-3000:]
    finally:
        server.stop()
        slot.unlink(missing_ok=True)
    assert (toy / "ran.txt").read_text() == "ran\n", "trained once"
    assert (toy / "outputs" / "train" / "input.txt").read_text() == "hello\n"
    assert ("Prefect went away" in log.read_text()) is not again
    states = [state for _, state in flow_runs(toy)]
    assert states[-1] == "Completed"
    assert len(states) == (1 if again else 2)


def flow_runs(root: Path) -> list[tuple[str, str]]:
    """Id and state of each flow run in the server's database, the oldest first."""
    with sqlite3.connect(root / ".cache" / "prefect" / "prefect.db") as database:
        return database.execute("SELECT id, state_name FROM flow_run ORDER BY created").fetchall()


def crash_flow_run(api: str, identity: str) -> None:
    """What the heartbeat automation does to a living flow whose heartbeats the server has missed."""
    state = {"state": {"type": "CRASHED", "name": "Crashed"}, "force": False}
    address, header = f"{api}/flow_runs/{identity}/set_state", {"Content-Type": "application/json"}
    request = urllib.request.Request(address, json.dumps(state).encode(), header)
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert json.load(answer)["status"] == "ACCEPT"
