"""A child server process on loopback that ends when its parent ends, also by SIGKILL."""

import http.client
import os
import shutil
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
STOP_SECONDS = 15.0
FULL_BYTES = 1 << 20  # free: less is too little for a server's database, and for its log to say so
READY_SECONDS = 600.0  # on two busy cores a start takes minutes; a server that dies is detected at once


class Server:
    """A server process that ends with its parent, and its health check URL.

    Args:
        sign: what the kernel sends it when the parent ends; SIGKILL for one that waits for other servers when it stops.
        keep_children: its children go on when it is restarted: the flow runs of a worker.
    """

    def __init__(
        self,
        name: str,
        command: list[str],
        env: dict[str, str],
        log: Path,
        health: str = "",
        sign: signal.Signals = signal.SIGTERM,
        keep_children: bool = False,
    ) -> None:
        self.name, self.health, self.log, self._keep_children = name, health, log, keep_children
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
        """Start the process again after it ended; what is left of its children is ended first (see keep_children)."""
        if not self._keep_children:
            self.stop()
        self.process = self._start()

    def wait_ready(self) -> None:
        """Wait for the health check; after ten seconds stderr says what is waited for.

        Raises:
            UserError: the process ended, or ten minutes passed; the log is named, or that the disk is full.
        """
        begin, said = time.monotonic(), False
        while self.health and not page_answers(self.health):
            seconds = time.monotonic() - begin
            if self.process.poll() is not None or seconds > READY_SECONDS:
                full = shutil.disk_usage(self.log.parent).free < FULL_BYTES
                cause = "the disk is full, free some space" if full else f"see {self.log}"
                raise UserError(f"{self.name} did not start; {cause}")
            if not said and seconds > QUIET_SECONDS:
                print(f"waiting for {self.name} at {self.health}; its log: {self.log}", file=sys.stderr, flush=True)
                said = True
            time.sleep(0.3)

    def stop(self) -> None:
        """End the process and its children, also those that a dead one left."""
        deadline = time.monotonic() + STOP_SECONDS
        with suppress(ProcessLookupError):  # nothing is left of the group
            os.killpg(self.process.pid, signal.SIGTERM)
            while time.monotonic() < deadline:
                self.process.poll()
                os.killpg(self.process.pid, 0)
                time.sleep(0.1)
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
