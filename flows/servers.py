"""MLflow, Prefect and a worker on loopback, for one checkout: `make ui`.

    foundry ui                      until Ctrl-C
    foundry ui --mlflow-port 5001 --prefect-port 4201 --no-worker

All of them end with this process. For shared machines use infra/.
"""

import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from components.base.errors import UserError
from components.tracking.store import experiments_link
from flows.daemon import HOST, Server, page_answers
from flows.dag import FOUNDRY
from flows.setup import HEARTBEAT_SECONDS, POOL


def mlflow_server(root: Path, port: int) -> Server:
    """MLflow on the checkout's sqlite file, which also has the runs that were logged without a server."""
    command = ["mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{root / 'mlflow.db'}"]
    command += ["--artifacts-destination", str(root / "mlartifacts")]
    env = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    return Server("MLflow", command, env, root / ".cache" / "logs" / "mlflow.log", f"http://{HOST}:{port}/health")


def prefect_server(root: Path, port: int) -> Server:
    """Prefect with a database in the checkout."""
    command = ["prefect", "server", "start", "--host", HOST, "--port", str(port)]
    env = {
        "PREFECT_SERVER_UI_API_URL": f"http://{HOST}:{port}/api",  # without it the UI is blank on other ports than 4200
        "PREFECT_API_URL": f"http://{HOST}:{port}/api",
    }
    return Server("Prefect", command, env, root / ".cache" / "logs" / "prefect.log", f"http://{HOST}:{port}/api/health")


def worker(root: Path, env: dict[str, str]) -> Server:
    """A Prefect worker that executes scheduled runs."""
    command = ["prefect", "worker", "start", "--pool", POOL]
    return Server("worker", command, env, root / ".cache" / "logs" / "worker.log")


def addresses(mlflow_port: int, prefect_port: int) -> dict[str, str]:
    """Environment variables that make flows and stages use these servers."""
    return {
        "MLFLOW_TRACKING_URI": f"http://{HOST}:{mlflow_port}",
        "PREFECT_API_URL": f"http://{HOST}:{prefect_port}/api",
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_SECONDS),
    }


def start(root: Path, mlflow_port: int, prefect_port: int, with_worker: bool, running: ExitStack) -> dict[str, str]:
    """Start all servers; closing `running` stops them. Returns the environment variables for clients.

    Raises:
        UserError: a server did not start, or a port is taken.
    """
    env = addresses(mlflow_port, prefect_port)
    for port in (mlflow_port, prefect_port):
        if page_answers(f"http://{HOST}:{port}/"):
            raise UserError(f"port {port} is taken; name another: --mlflow-port, --prefect-port")
    servers = [mlflow_server(root, mlflow_port), prefect_server(root, prefect_port)]
    for server in servers:
        running.callback(server.stop)
    for server in servers:
        server.wait_ready()
    done = subprocess.run(
        [*FOUNDRY, "setup"],
        cwd=root,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise UserError((done.stderr.strip() or done.stdout.strip()).removeprefix("error: "))
    if with_worker:
        running.callback(worker(root, env).stop)
    return env


def serve(root: Path, mlflow_port: int, prefect_port: int, with_worker: bool) -> None:
    """Start all servers, print the addresses, and wait for Ctrl-C or SIGTERM. Raises UserError like `start`."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with ExitStack() as running:
        env = start(root, mlflow_port, prefect_port, with_worker, running)
        print(f"MLflow    {experiments_link(env['MLFLOW_TRACKING_URI'])}")
        print(f"Prefect   http://{HOST}:{prefect_port}/runs")
        print("For commands in another terminal:")
        print("  export " + " ".join(f"{name}={value}" for name, value in env.items()))
        print("Ctrl-C ends both.", flush=True)
        try:
            signal.pause()
        except KeyboardInterrupt:
            print("stopping")
