"""Prefect flows. Importing this package sets the environment defaults that Prefect, DVC and MLflow read at import."""

import logging
import os
from pathlib import Path

from components.base.checkout import find_checkout
from components.base.errors import UserError
from components.base.loopback import keep_loopback_direct
from components.tracking.store import SAFE_DEFAULTS

DEFAULTS = {
    **SAFE_DEFAULTS,
    "DVC_NO_ANALYTICS": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_CLIENT_MAX_RETRIES": "6",  # with waits of 2, 4, 8 ... s: two minutes for a restart of the server
    "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",  # Prefect's own default is pickle
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",  # 20 s is too little on two busy cores
    # the database is in the checkout
    "PREFECT_HOME": str((find_checkout(Path.cwd()) or Path.cwd()) / ".cache" / "prefect"),
}

for _name, _value in DEFAULTS.items():
    os.environ.setdefault(_name, _value)
keep_loopback_direct()


def without_traceback(record: logging.LogRecord) -> bool:
    """Logging filter: log a UserError as one line, without the traceback that Prefect adds to every error."""
    if record.exc_info and isinstance(record.exc_info[1], UserError):
        record.exc_info = None
    return True


for _logger in ("prefect.flow_runs", "prefect.task_runs"):
    logging.getLogger(_logger).addFilter(without_traceback)
