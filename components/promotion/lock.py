"""Registry-wide promotion lock.

MLflow has no compare-and-set, so the lock is an object that it creates exactly once: a registered model named
`<model>.lock`, whose name is unique in the database.
"""

import contextlib
import hashlib
import json
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.base.checkout import home
from components.base.locks import MACHINE, wait_for_lock
from components.base.owner import describe_owner, owner_state, read_owner
from components.tracking.registry import RefusedError

if TYPE_CHECKING:
    from mlflow import MlflowClient

LOCK_SECONDS = 120.0
LOCK_TAG = "foundry.lock"  # of the lock: its owner, see components/base/owner.py; no real model has it
SUFFIX = ".lock"


def lock_name(name: str) -> str:
    return f"{name}{SUFFIX}"


@contextlib.contextmanager
def promotion_lock(client: "MlflowClient", name: str, who: str, patience: float = LOCK_SECONDS) -> Iterator[None]:
    """Hold the lock; one holder at a time among all users and machines of this registry.

    Raises:
        RefusedError: another holder kept it for `patience` seconds; the text names the holder and the time. The lock of
            a holder that provably died is freed at once.
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
            if free_dead_lock(client, name):
                continue
            if time.monotonic() > deadline:
                raise RefusedError(
                    f"{name}: another promotion holds the lock ({_holder(client, name) or problem})"
                ) from None
            time.sleep(0.3)
    try:
        yield
    finally:
        _release(client, name)


def free_dead_lock(client: "MlflowClient", name: str) -> bool:
    """Delete the lock of a promoter that provably died; whether it did.

    Only a process of the same machine can prove that, so a lock file of this machine keeps two of them (promoters or
    the doctor) from freeing one lock twice: the second would free the first one's own.
    """
    digest = hashlib.sha256(lock_name(name).encode()).hexdigest()[:12]
    with wait_for_lock(MACHINE / f"embedding-foundry-promotion-{digest}.lock", print):
        model = _read(client, name)
        if model is None or owner_state(_owner(model)) != "dead":
            return False
        client.delete_registered_model(lock_name(name))
    return True


def all_locks(client: "MlflowClient") -> Iterator[Any]:
    """The registered models that are promotion locks of any holder."""
    token: str | None = None
    while token != "":
        page = client.search_registered_models(max_results=1000, page_token=token)
        yield from (model for model in page if LOCK_TAG in model.tags and model.name.endswith(SUFFIX))
        token = page.token or ""


def _release(client: "MlflowClient", name: str) -> None:
    """Delete the lock. A failure is a warning: production has moved or not before it, and a dead lock is freed."""
    from mlflow.exceptions import MlflowException

    try:
        client.delete_registered_model(lock_name(name))
    except MlflowException as problem:
        print(f"warning: {lock_name(name)}: not deleted ({problem}); the next promotion frees it", file=sys.stderr)


def _read(client: "MlflowClient", name: str) -> Any:
    from mlflow.exceptions import MlflowException

    try:
        return client.get_registered_model(lock_name(name))
    except MlflowException:
        return None


def _owner(model: Any) -> dict[str, Any]:
    """The owner record of a lock; empty, so unseen, for a model that is no lock or has a version."""
    return read_owner(model.tags.get(LOCK_TAG, "") if not model.latest_versions else "")


def _holder(client: "MlflowClient", name: str) -> str:
    model = _read(client, name)
    return "" if model is None else str(model.description)
