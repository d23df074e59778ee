"""Every command works without a Prefect server: a temporary one takes its place, and one that is away is named once."""

import atexit
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import prefect
from prefect.settings import PREFECT_API_URL, PREFECT_UI_URL, temporary_settings

from components.tracking.store import answers, shown
from flows.daemon import HOST, Server, free_port


@contextmanager
def a_prefect_server() -> Iterator[bool]:
    """The configured server if it answers, else one of our own for the time being; whether a person can see it.

    Raises:
        UserError: the temporary server did not start; its log is named.
    """
    configured = PREFECT_API_URL.value()
    if configured and answers(configured):
        yield True
        return
    if configured:
        print(
            f"warning: Prefect: {shown(configured)} does not answer; going on with a temporary server, which nobody"
            " can watch",
            file=sys.stderr,
        )
    server, before = _temporary_server(port := free_port()), os.environ.get("PREFECT_API_URL")
    atexit.register(server.stop)  # later than Prefect's threads, which send their last logs and events when we exit
    address = f"http://{HOST}:{port}/api"
    try:
        server.wait_ready()
        os.environ["PREFECT_API_URL"] = address  # Prefect's own threads read their settings anew
        with temporary_settings({PREFECT_API_URL: address, PREFECT_UI_URL: ""}):  # no pages, so no links to them
            yield False
    finally:
        os.environ.pop("PREFECT_API_URL", None)
        if before is not None:
            os.environ["PREFECT_API_URL"] = before


def _temporary_server(port: int) -> Server:
    """As Prefect starts one by itself (no pages, no scheduler), but for its end: Prefect's outlives a kill -9 of us."""
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
