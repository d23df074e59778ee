"""Dask of compose.yaml on loopback: a client with our certificate computes, one without is refused."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.infra.local_stack import LocalStack, free_ports, status

pytestmark = pytest.mark.timeout(180)

CLIENT = """
import sys
from distributed import Client
for address in sys.argv[2:]:
    try:
        with Client(address, timeout=sys.argv[1]) as client:
            print(sum(client.gather(client.map(lambda n: n * n, range(10)))))
    except (OSError, TypeError) as problem:  # TypeError: a TLS address without a certificate of its own
        print(type(problem).__name__, " ".join(str(problem).split()))
"""


@pytest.mark.slow
def test_scheduler_and_worker_talk_tls_only(tmp_path: Path) -> None:
    stack = LocalStack(tmp_path, "sqlite")
    (tmp_path / "home").mkdir()
    scheduler_port, *health = free_ports(3)
    try:
        for name, port in zip(("dask-scheduler", "dask-worker"), health, strict=True):
            command = [
                word.replace("dask-scheduler:8786", f"127.0.0.1:{scheduler_port}") for word in stack.command(name)
            ]
            command = [word.replace("127.0.0.1:8787", f"127.0.0.1:{port}") for word in command]
            if "--port" in command:
                command[command.index("--port") + 1] = str(scheduler_port)
                command += ["--host", "tls://127.0.0.1"]
            if name == "dask-worker":
                command = [word for word in command if not word.startswith("--local-directory")]
                command += ["--local-directory", str(tmp_path / "work")]
            entrypoint = str(Path(__file__).parents[2] / "infra/images/entrypoint.sh")
            stack.spawn(name, [entrypoint, *command], stack.environment(name))
            stack.ports[name] = port
            stack.wait_for_http(name, "/health")
        known = {name: value for name, value in stack.environment("dask-worker").items() if name.startswith("DASK_")}
        address = f"tls://127.0.0.1:{scheduler_port}"
        assert compute("60s", known, address) == ["285"]
        no_certificate, plain = compute("5s", {}, address, address.replace("tls", "tcp"))
        assert re.match(r"TypeError .*(TLS|tls|ssl|certificate)", no_certificate), no_certificate
        assert plain.split()[0] in {"OSError", "CommClosedError"}, plain
        assert status(f"http://127.0.0.1:{health[1]}/health") == 200
    finally:
        for name in list(stack.processes):
            stack.stop(name)


def compute(timeout: str, variables: dict[str, str], *addresses: str) -> list[str]:
    """What a client with these variables gets from each address: a number, or why it cannot connect."""
    env = {**os.environ, **variables}
    command = [sys.executable, "-c", CLIENT, timeout, *addresses]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()
