"""A child server process on loopback that ends when its parent ends, also by SIGKILL."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from components.base.errors import UserError
from components.base.process import die_with_parent

HOST = "127.0.0.1"
READY_SECONDS = 600.0  # on two busy cores a start takes minutes; a server that dies is detected at once


class Server:
    """A server process that ends with its parent, and its health check URL."""

    def __init__(self, name: str, command: list[str], env: dict[str, str], log: Path, health: str = "") -> None:
        self.name, self.health, self.log = name, health, log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *command],
                env={**os.environ, **env},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )

    def wait_ready(self) -> None:
        """Wait for the health check. Raises UserError, naming the log, if the process ends or ten minutes pass."""
        deadline = time.monotonic() + READY_SECONDS
        while self.health and not page_answers(self.health):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise UserError(f"{self.name} did not start; see {self.log}")
            time.sleep(0.3)

    def stop(self) -> None:
        """End the process and its children."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()


def page_answers(address: str) -> bool:
    """Whether an HTTP server answers at `address`, with any status."""
    try:
        with urllib.request.urlopen(address, timeout=2):
            return True
    except urllib.error.HTTPError:
        return True
    except (OSError, ValueError):
        return False


def free_port() -> int:
    """A free port on loopback."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
