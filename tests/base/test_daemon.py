"""Servers on loopback: seen without a proxy, waited for aloud, ended with their parent and with their children."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from components.base import daemon
from components.base.daemon import HOST, Server, free_port, page_answers, port_is_taken
from components.base.errors import UserError
from components.base.loopback import keep_loopback_direct
from tests.flows.test_processes import gone, wait_for

CHILD = "import subprocess, sys; subprocess.Popen([sys.executable, '-m', 'http.server', sys.argv[1]]).wait()"


def http_server(folder: Path, port: int) -> Server:
    command = ["http.server", str(port), "--bind", HOST]
    return Server("pages", command, {}, folder / "log", f"http://{HOST}:{port}/")


@pytest.fixture
def pages(tmp_path: Path) -> Iterator[Server]:
    server = http_server(tmp_path, free_port())
    yield server
    server.stop()


def test_a_proxy_is_not_asked_for_loopback(pages: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    pages.wait_ready()
    monkeypatch.setenv("NO_PROXY", "intranet")
    keep_loopback_direct()
    keep_loopback_direct()
    assert os.environ["NO_PROXY"] == os.environ["no_proxy"] == "intranet,127.0.0.1,localhost"
    import urllib.request

    assert urllib.request.proxy_bypass(HOST)
    monkeypatch.delenv("NO_PROXY")
    monkeypatch.setenv("no_proxy", "intranet")
    keep_loopback_direct()
    assert os.environ["NO_PROXY"] == os.environ["no_proxy"] == "intranet,127.0.0.1,localhost"


def test_prefect_s_client_starts_with_a_socks_proxy_and_asks_loopback_directly(
    pages: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    import httpx

    pages.wait_ready()
    for name in ("ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "socks5://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "")
    keep_loopback_direct()
    with httpx.Client() as client:
        assert client.get(pages.health).status_code == 200


@pytest.mark.slow
def test_what_is_waited_for_is_printed_and_a_dead_server_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(daemon, "QUIET_SECONDS", 0.1)
    monkeypatch.setattr(daemon, "READY_SECONDS", 0.8)
    slow = Server(
        "slow", ["timeit", "-n1", "-r1", "import time; time.sleep(60)"], {}, tmp_path / "log", "http://127.0.0.1:9"
    )
    try:
        with pytest.raises(UserError, match=r"slow did not start; see .*log"):
            slow.wait_ready()
        assert capsys.readouterr().err.count("waiting for slow at http://127.0.0.1:9; its log:") == 1
        monkeypatch.setattr(daemon, "FULL_BYTES", 1 << 60)
        with pytest.raises(UserError, match="slow did not start; the disk is full, free some space"):
            slow.wait_ready()
    finally:
        slow.stop()


def test_a_port_where_no_http_is_spoken_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        listener.listen()
        port = listener.getsockname()[1]
        threading.Thread(target=lambda: listener.accept()[0].sendall(b"-ERR what\r\n"), daemon=True).start()
        assert not page_answers(f"http://{HOST}:{port}/")
        assert port_is_taken(port)
    assert not port_is_taken(free_port())


@pytest.mark.slow
def test_the_child_of_a_killed_server_ends_too(tmp_path: Path) -> None:
    script = tmp_path / "parent_of_server.py"
    script.write_text(CHILD)
    env = {"PYTHONPATH": str(tmp_path)}
    server = Server("parent", ["parent_of_server", str(free_port())], env, tmp_path / "log")
    wait_for(lambda: psutil.Process(server.process.pid).children())
    child = psutil.Process(server.process.pid).children()[0].pid
    server.process.kill()
    server.process.wait()
    assert not gone(child)
    server.restart()
    wait_for(lambda: gone(child))
    server.stop()


def test_the_flow_run_of_a_worker_goes_on_when_the_worker_is_restarted(tmp_path: Path) -> None:
    script = tmp_path / "parent_of_server.py"
    script.write_text(CHILD)
    env = {"PYTHONPATH": str(tmp_path)}
    worker = Server("worker", ["parent_of_server", str(free_port())], env, tmp_path / "log", keep_children=True)
    wait_for(lambda: psutil.Process(worker.process.pid).children())
    run = psutil.Process(worker.process.pid).children()[0]
    worker.process.kill()
    worker.process.wait()
    try:
        worker.restart()
        assert not gone(run.pid)
    finally:
        run.kill()
        worker.stop()


@pytest.mark.parametrize("sign", ["SIGTERM", "SIGKILL"])
def test_kill_9_of_the_parent_ends_the_server(tmp_path: Path, sign: str) -> None:
    code = (
        "import signal, sys, time; from pathlib import Path; from components.base.daemon import Server;"
        f"s = Server('s', ['http.server', sys.argv[1]], {{}}, Path(sys.argv[2]), sign=signal.{sign});"
        "print(s.process.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(free_port()), str(tmp_path / "log")], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    wait_for(lambda: gone(child))
