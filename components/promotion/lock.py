"""Registry-wide promotion lock.

MLflow has no compare-and-set, so the lock is an object that it creates exactly once: a registered model named
`<model>.lock`, whose name is unique in the database.
"""

import contextlib
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from components.base.checkout import home
from components.base.owner import describe_owner
from components.tracking.registry import RefusedError

if TYPE_CHECKING:
    from mlflow import MlflowClient

LOCK_SECONDS = 120.0
LOCK_TAG = "foundry.lock"  # of the lock: its owner, see components/base/owner.py; no real model has it


def lock_name(name: str) -> str:
    return f"{name}.lock"


@contextlib.contextmanager
def promotion_lock(client: "MlflowClient", name: str, who: str, patience: float = LOCK_SECONDS) -> Iterator[None]:
    """Hold the lock; one holder at a time among all users and machines of this registry.

    Raises:
        RefusedError: another holder kept it for `patience` seconds; the text names the holder and the time.
    """
    from mlflow.exceptions import MlflowException

    deadline = time.monotonic() + patience
    owner = json.dumps(describe_owner(home(Path.cwd())))
    held = f"{who} since {datetime.now(UTC).isoformat(timespec='seconds')}"
    while True:
        try:
            client.create_registered_model(lock_name(name), {LOCK_TAG: owner}, description=held)
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
