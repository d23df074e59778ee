"""Prefect server of a command: the configured one, else a temporary one (with a warning if one was configured)."""

import atexit
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import httpx
from prefect.settings import PREFECT_API_URL, PREFECT_UI_URL, temporary_settings

from components.base.temporary_prefect import temporary_prefect
from components.tracking.store import is_reachable, redact_uri

T = TypeVar("T")


def call_with_server(call: Callable[[], T]) -> T:
    """Call a flow with the configured Prefect server or a temporary one; again, if the server goes away meanwhile.

    Only for flows that leave finished work alone, such as the pipeline: DVC does not run a finished stage again.
    """
    try:
        with prefect_server_or_temporary():
            return call()
    except httpx.TransportError as problem:
        print(
            f"warning: Prefect went away ({type(problem).__name__}); going on, finished stages are not run again",
            file=sys.stderr,
        )
    with prefect_server_or_temporary():
        return call()


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
    (server, address), before = temporary_prefect(Path.cwd() / ".cache"), os.environ.get("PREFECT_API_URL")
    atexit.register(server.stop)  # after Prefect's threads, which send their last logs and events at exit
    try:
        server.wait_ready()
        os.environ["PREFECT_API_URL"] = address  # Prefect's own threads read the settings again
        with temporary_settings({PREFECT_API_URL: address, PREFECT_UI_URL: ""}):  # no UI, so no links to it
            yield False
    finally:
        os.environ.pop("PREFECT_API_URL", None)
        if before is not None:
            os.environ["PREFECT_API_URL"] = before
