"""MLflow, Prefect and a worker on loopback, for one checkout: `make ui`.

    foundry ui                      until Ctrl-C
    foundry ui --mlflow-port 5001 --prefect-port 4201 --no-worker

All of them end with this process. For shared machines use infra/.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from components.base.daemon import HOST, Server, port_is_taken
from components.base.errors import UserError
from components.tracking.store import experiments_link
from flows.dag import FOUNDRY
from flows.setup import HEARTBEAT_SECONDS, POOL

RESTARTS = 3


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
    log = root / ".cache" / "logs" / "worker.log"
    return Server("worker", command, env, log, sign=signal.SIGKILL)  # SIGTERM would wait for a Prefect that is gone


def addresses(mlflow_port: int, prefect_port: int) -> dict[str, str]:
    """Environment variables that make flows and stages use these servers."""
    return {
        "MLFLOW_TRACKING_URI": f"http://{HOST}:{mlflow_port}",
        "PREFECT_API_URL": f"http://{HOST}:{prefect_port}/api",
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_SECONDS),
    }


def start(root: Path, mlflow_port: int, prefect_port: int, with_worker: bool, running: ExitStack) -> list[Server]:
    """Start all servers; closing `running` stops them.

    Raises:
        UserError: a server did not start, or a port is taken.
    """
    env = addresses(mlflow_port, prefect_port)
    for name, port in (("mlflow", mlflow_port), ("prefect", prefect_port)):
        if port_is_taken(port):
            other = f"make ui {name.upper()}_PORT={port + 1}, or foundry ui --{name}-port {port + 1}"
            raise UserError(f"port {port} is taken; name another: {other}")
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
        servers.append(worker(root, env))
        running.callback(servers[-1].stop)
    return servers


def supervise(servers: list[Server], say: Callable[[str], object]) -> None:
    """Restart servers that ended, until Ctrl-C; one that ends a fourth time stays down."""
    starts = dict.fromkeys((server.name for server in servers), 0)
    while True:
        for server in servers:
            if server.process.poll() is None or starts[server.name] > RESTARTS:
                continue
            starts[server.name] += 1
            again = "restarted" if starts[server.name] <= RESTARTS else "it stays down"
            say(f"{server.name} ended with exit status {server.process.returncode}: {again}; its log: {server.log}")
            if starts[server.name] <= RESTARTS:
                server.restart()
        time.sleep(1)


def serve(root: Path, mlflow_port: int, prefect_port: int, with_worker: bool) -> None:
    """Start all servers, print the addresses, and wait for Ctrl-C or SIGTERM. Raises UserError like `start`."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with ExitStack() as running:
        servers = start(root, mlflow_port, prefect_port, with_worker, running)
        env = addresses(mlflow_port, prefect_port)
        print(f"MLflow    {experiments_link(env['MLFLOW_TRACKING_URI'])}")
        print(f"Prefect   http://{HOST}:{prefect_port}/runs")
        print("For commands in another terminal:")
        print("  export " + " ".join(f"{name}={value}" for name, value in env.items()))
        print("Ctrl-C ends both.", flush=True)
        try:
            supervise(servers, partial(print, flush=True))
        except KeyboardInterrupt:
            print("stopping")
