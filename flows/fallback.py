"""Prefect server of a command: the configured one, else a temporary one (with a warning if one was configured)."""

import atexit
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import prefect
from prefect.settings import PREFECT_API_URL, PREFECT_UI_URL, temporary_settings

from components.tracking.store import is_reachable, redact_uri
from flows.daemon import HOST, Server, free_port


@contextmanager
def prefect_server_or_temporary() -> Iterator[bool]:
    """Use the configured server if it answers, else start a temporary one; yields True for the configured one.

    Raises:
        UserError: the temporary server did not start; the text names its log.
    """
    configured = PREFECT_API_URL.value()
    if configured and is_reachable(configured):
        yield True
        return
    if configured:
        print(
            f"warning: Prefect: {redact_uri(configured)} does not answer; using a temporary server without a UI",
            file=sys.stderr,
        )
    server, before = _temporary_server(port := free_port()), os.environ.get("PREFECT_API_URL")
    atexit.register(server.stop)  # after Prefect's threads, which send their last logs and events at exit
    address = f"http://{HOST}:{port}/api"
    try:
        server.wait_ready()
        os.environ["PREFECT_API_URL"] = address  # Prefect's own threads read the settings again
        with temporary_settings({PREFECT_API_URL: address, PREFECT_UI_URL: ""}):  # no UI, so no links to it
            yield False
    finally:
        os.environ.pop("PREFECT_API_URL", None)
        if before is not None:
            os.environ["PREFECT_API_URL"] = before


def _temporary_server(port: int) -> Server:
    """Like Prefect's own ephemeral server (no UI, no scheduler), but it also ends when this process is SIGKILLed."""
    command = ["uvicorn", "--app-dir", str(Path(prefect.__file__).parents[1])]
    command += ["--factory", "prefect.server.api.server:create_app", "--lifespan", "on"]
    command += ["--host", HOST, "--port", str(port), "--log-level", "error"]
    env = {
        "PREFECT_UI_ENABLED": "0",
        "PREFECT__SERVER_EPHEMERAL": "1",
        "PREFECT__SERVER_FINAL": "1",
        "PREFECT_API_URL": f"http://{HOST}:{port}/api",
    }
    log = Path.cwd() / ".cache" / "logs" / "prefect-temporary.log"
    return Server("Prefect", command, env, log, f"http://{HOST}:{port}/api/health")
