"""Which runs are at work in a checkout: locks below .cache/locks, seen from every container that shares it.

One run works in a checkout at a time (an isolated run has a worktree, which is a checkout of its own). Stages hold a
second lock beside each other, so that a stage of a plain `dvc repro` is seen as well.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from components.base.errors import UserError
from components.base.locks import lock_holder, try_lock

PATIENCE_SECONDS = 10.0  # the doctor holds the locks for a moment, a run that was stopped a little longer


def lock_file(root: Path, name: str) -> Path:
    """The file of a lock of this checkout: run, stages, or the name of a deployment."""
    return root / ".cache" / "locks" / f"{name}.lock"


@contextmanager
def only_run(root: Path) -> Iterator[None]:
    """Be the one run in the checkout `root`.

    Raises:
        UserError: another run is at work; its pid and start time are named.
    """
    file, deadline = lock_file(root, "run"), time.monotonic() + PATIENCE_SECONDS
    while True:
        with try_lock(file) as free:
            if free:
                yield
                return
        if time.monotonic() > deadline:
            raise UserError(
                f"another run ({lock_holder(file)}) is at work in {root}; wait until it ends, or run beside it with"
                " `foundry pipeline --isolated`"
            )
        time.sleep(0.5)


def cancelled(lock: Path) -> Any:
    """The final state of a flow run that must be alone and is not; Prefect takes it as the flow's result."""
    from prefect.states import Cancelled  # slow to import, and stages need none of it

    return Cancelled(message=f"the run before ({lock_holder(lock)}) is still at work")


@contextmanager
def stage_at_work(root: Path) -> Iterator[None]:
    """Mark that a stage runs in `root`, beside others; it waits for the doctor, which keeps stages out for a moment."""
    file, deadline = lock_file(root, "stages"), time.monotonic() + PATIENCE_SECONDS
    while True:
        with try_lock(file, shared=True) as marked:
            if marked or time.monotonic() > deadline:
                yield
                return
        time.sleep(0.1)


@contextmanager
def nobody_at_work(root: Path) -> Iterator[bool]:
    """Whether no run and no stage is at work in `root`; if so, none can begin within the block."""
    with try_lock(lock_file(root, "run")) as no_run, try_lock(lock_file(root, "stages")) as no_stage:
        yield no_run and no_stage
