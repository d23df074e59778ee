"""A child server process on loopback that ends when its parent ends, also by SIGKILL."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from functools import partial
from pathlib import Path

from components.base.errors import UserError
from components.base.locks import QUIET_SECONDS
from components.base.process import die_with_parent

HOST = "127.0.0.1"
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy on the way to loopback
READY_SECONDS = 600.0  # on two busy cores a start takes minutes; a server that dies is detected at once


class Server:
    """A server process that ends with its parent, and its health check URL.

    sign: what the kernel sends it when the parent ends; SIGKILL for one that waits for other servers when it stops.
    """

    def __init__(
        self,
        name: str,
        command: list[str],
        env: dict[str, str],
        log: Path,
        health: str = "",
        sign: signal.Signals = signal.SIGTERM,
    ) -> None:
        self.name, self.health, self.log = name, health, log
        self._command, self._env, self._sign = [sys.executable, "-m", *command], {**os.environ, **env}, sign
        log.parent.mkdir(parents=True, exist_ok=True)
        self.process = self._start()

    def _start(self) -> "subprocess.Popen[bytes]":
        with self.log.open("ab") as output:
            return subprocess.Popen(
                self._command,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=partial(die_with_parent, self._sign),
            )

    def restart(self) -> None:
        """Start the process again after it ended; what is left of its children is ended first."""
        self.stop()
        self.process = self._start()

    def wait_ready(self) -> None:
        """Wait for the health check; after ten seconds stderr says what is waited for.

        Raises:
            UserError: the process ended, or ten minutes passed; the log is named.
        """
        begin, said = time.monotonic(), False
        while self.health and not page_answers(self.health):
            seconds = time.monotonic() - begin
            if self.process.poll() is not None or seconds > READY_SECONDS:
                raise UserError(f"{self.name} did not start; see {self.log}")
            if not said and seconds > QUIET_SECONDS:
                print(f"waiting for {self.name} at {self.health}; its log: {self.log}", file=sys.stderr, flush=True)
                said = True
            time.sleep(0.3)

    def stop(self) -> None:
        """End the process and its children, also those that a dead one left."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(15)
        with suppress(ProcessLookupError):  # no child is left
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def page_answers(address: str) -> bool:
    """Whether an HTTP server answers at `address`, with any status."""
    try:
        with _DIRECT.open(address, timeout=2):
            return True
    except urllib.error.HTTPError:
        return True
    except (OSError, ValueError, http.client.HTTPException):
        return False


def port_is_taken(port: int) -> bool:
    """Whether any server, HTTP or not, listens on the port of loopback."""
    with socket.socket() as probe:
        probe.settimeout(2)
        return probe.connect_ex((HOST, port)) == 0


def free_port() -> int:
    """A free port on loopback."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
