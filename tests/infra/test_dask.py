"""Dask of compose.yaml on loopback: a client with our certificate computes, one without is refused."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.infra.local_stack import LocalStack, free_ports, status

pytestmark = pytest.mark.timeout(180)

CLIENT = """
import sys
from distributed import Client
with Client(sys.argv[1], timeout=sys.argv[2]) as client:
    print(sum(client.gather(client.map(lambda n: n * n, range(10)))))
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
        assert compute(address, "60s", known) == "285"
        with pytest.raises(RuntimeError, match=r"TLS|tls|ssl|certificate"):
            compute(address, "5s", {})
        with pytest.raises(RuntimeError):
            compute(address.replace("tls", "tcp"), "5s", {})
        assert status(f"http://127.0.0.1:{health[1]}/health") == 200
    finally:
        for name in list(stack.processes):
            stack.stop(name)


def compute(address: str, timeout: str, variables: dict[str, str]) -> str:
    """What the cluster answers; raises RuntimeError with the client's words where it refuses."""
    env = {**os.environ, **variables}
    command = [sys.executable, "-c", CLIENT, address, timeout]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return done.stdout.strip()
