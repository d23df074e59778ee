"""`make ui`: both pages answer, a deployment is there, and Ctrl-C leaves no process."""

import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import psutil
import pytest

from components.base.daemon import Server, free_port
from flows import servers
from flows.servers import supervise
from tests.flows.conftest import REPOSITORY, give_database
from tests.flows.test_processes import gone, wait_for


@pytest.mark.slow
def test_both_pages_answer_and_ctrl_c_stops_everything(toy: Path, empty_prefect: Path) -> None:
    give_database(toy, empty_prefect)
    for name in ("components", "flows"):
        (toy / name).symlink_to(REPOSITORY / name)
    shutil.copyfile(REPOSITORY / "prefect.yaml", toy / "prefect.yaml")
    ports = free_port(), free_port()
    command = [sys.executable, "-m", "flows.cli", "ui", f"--mlflow-port={ports[0]}", f"--prefect-port={ports[1]}"]
    log = toy / "said.log"
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    with log.open("w") as said:
        # A shell's `&` (CI) leaves SIGINT ignored for whatever runs below it; on a terminal it is not.
        running = subprocess.Popen(
            command,
            cwd=toy,
            env=inherited,
            stdout=said,
            stderr=said,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
    try:
        wait_for(lambda: "Ctrl-C" in log.read_text() or running.poll() is not None, 300)
        assert "export MLFLOW_TRACKING_URI=" in log.read_text(), log.read_text()
        assert [title(port) for port in ports] == ["MLflow", "Prefect Server"]
        children = [child.pid for child in psutil.Process(running.pid).children(recursive=True)]
        assert len(children) >= 3, "MLflow, Prefect and a worker"
        running.send_signal(signal.SIGINT)
        assert running.wait(60) == 0
        wait_for(lambda: all(gone(child) for child in children))
    finally:
        running.kill()
        running.wait()


def title(port: int) -> str:
    """What the page on a port calls itself."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=20) as answer:
        found = re.search(r"<title>(.*?)</title>", answer.read().decode())
    assert found is not None
    return found[1]


@pytest.mark.slow
def test_a_dead_server_is_restarted_three_times_and_then_stays_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers.time, "sleep", lambda seconds: said and "stays down" in said[-1] and stop())
    said: list[str] = []

    def stop() -> None:
        raise KeyboardInterrupt

    dying = Server("dying", ["timeit", "-n1", "-r1", "raise ValueError"], {}, tmp_path / "log")
    with pytest.raises(KeyboardInterrupt):
        supervise([dying], said.append)
    log = f"its log: {tmp_path / 'log'}"
    assert said == [f"dying ended with exit status 1: restarted; {log}"] * 3 + [
        f"dying ended with exit status 1: it stays down; {log}"
    ]
