"""One promotion at a time, for everyone who uses a registry.

MLflow has no compare-and-set, so the lock is the one thing it makes exactly once: a registered model of a given name
(`<model>.lock`), unique in its database.
"""

import contextlib
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from components.tracking.registry import RefusedError

if TYPE_CHECKING:
    from mlflow import MlflowClient

LOCK_SECONDS = 120.0


def lock_name(name: str) -> str:
    return f"{name}.lock"


@contextlib.contextmanager
def promotion_lock(client: "MlflowClient", name: str, who: str, patience: float = LOCK_SECONDS) -> Iterator[None]:
    """One holder at a time, for everyone who uses this registry, on whatever machine.

    Raises:
        RefusedError: someone else held it for all of `patience` seconds; it says who and since when.
    """
    from mlflow.exceptions import MlflowException

    deadline = time.monotonic() + patience
    held = f"{who} since {datetime.now(UTC).isoformat(timespec='seconds')}"
    while True:
        try:
            client.create_registered_model(lock_name(name), description=held)
            break
        except MlflowException as problem:
            if time.monotonic() > deadline:
                raise RefusedError(
                    f"{name}: another promotion holds the lock ({_holder(client, name) or problem});"
                    " if it is dead: foundry doctor"
                ) from None
            time.sleep(0.3)
    try:
        yield
    finally:
        client.delete_registered_model(lock_name(name))


def _holder(client: "MlflowClient", name: str) -> str:
    from mlflow.exceptions import MlflowException

    try:
        return str(client.get_registered_model(lock_name(name)).description)
    except MlflowException:
        return ""
