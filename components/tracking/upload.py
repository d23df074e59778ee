"""Uploads run journals to MLflow: live, or later if the server was down.

A stage starts this module as a separate process, one per checkout, which exits ten seconds after the last run ended,
or thirty after a killed one, whose user may start dvc again. A run starts it too if an earlier one was killed before
its end was uploaded.
`foundry upload` uploads all pending journals.
"""

import os
import subprocess
import sys
import time
from contextlib import AbstractContextManager
from pathlib import Path

from components.base.locks import QUIET_SECONDS, is_free, try_lock
from components.base.owner import Standing
from components.base.short_lines import describe_exception
from components.tracking.journal_files import first_event, journals, owner_standing, read_state, remaining_journals
from components.tracking.store import tracking_folder
from components.tracking.uploader import Uploader

IDLE_SECONDS, AFTER_KILL_SECONDS = 10.0, 30.0
PATIENCE_SECONDS = 120.0
STARTS = 3  # of an upload process that crashes; once that was printed, each further run starts it once
CRASHED = f"the upload process ended {STARTS} times"


def start_uploader(root: Path) -> "subprocess.Popen[bytes] | None":
    """Start this checkout's upload process unless it runs; it exits some seconds after the last run ended.

    Returns the process, None if another one runs.
    """
    folder = tracking_folder(root)
    with _only_one(folder) as mine:
        if not mine:
            return None
    environment = {k: v for k, v in os.environ.items() if k != "MLFLOW_RUN_ID"}
    with (folder / "upload.log").open("a") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "components.tracking.upload"],
            cwd=root,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def resume_uploads(root: Path) -> None:
    """Start the upload process if a run that was killed has left its journal: the next run may start no stage."""
    if any(owner_standing(folder) == "dead" for folder in journals(tracking_folder(root))):
        start_uploader(root)


def wait_until_uploaded(journal: Path, patience: float = PATIENCE_SECONDS) -> bool:
    """Wait until an ended journal is in MLflow; on a timeout or error warn once per distinct cause and return False."""
    root, begin, said = journal.parent.parent.parent, time.monotonic(), False
    process, starts, most = None, 0, 1 if _said(journal.parent).startswith(CRASHED) else STARTS
    while journal.exists():
        problem, seconds = read_state(journal).get("problem", ""), time.monotonic() - begin
        if process is None or process.poll() is not None:
            if starts == most:
                problem = problem or f"{CRASHED}; see {journal.parent / 'upload.log'}"
            else:
                process = start_uploader(root)
                starts += process is not None
        if problem or seconds > patience:
            _announce(journal.parent, problem or f"not uploaded after {patience:.0f} s")
            return False
        if seconds > QUIET_SECONDS and not said:
            print("waiting for the upload to MLflow", file=sys.stderr, flush=True)
            said = True
        time.sleep(0.1)
    return True


def _said(tracking: Path) -> str:
    """The problem that was printed last; empty after an upload that went well."""
    note = tracking / "said"
    return note.read_text(encoding="utf-8") if note.exists() else ""


def _announce(tracking: Path, problem: str) -> None:
    if _said(tracking) != problem:
        (tracking / "said").write_text(problem, encoding="utf-8")
        print(
            f"warning: MLflow: {problem}. Runs are kept in {tracking} and uploaded with the next run, or by"
            " `foundry upload`.",
            file=sys.stderr,
        )


def upload_until_idle(root: Path) -> None:
    """Upload every journal below `root` until no owner process has been alive for ten seconds (thirty after a kill)."""
    tracking, quiet_since = tracking_folder(root), time.monotonic()
    while True:
        with _only_one(tracking) as mine:
            if not mine:
                return
            uploader = Uploader(tracking)
            while time.monotonic() < max(quiet_since + IDLE_SECONDS, uploader.killed_at + AFTER_KILL_SECONDS):
                if uploader.round():
                    quiet_since = time.monotonic()
                time.sleep(0.2)
        # A run may have started between the last check and the unlock, while the lock was still held.
        if not any(owner_standing(folder) == "alive" for folder in journals(tracking)):
            return
        quiet_since = time.monotonic()


def _only_one(tracking: Path) -> AbstractContextManager[bool]:
    """Try to take the checkout's upload lock; yields whether it was free."""
    return try_lock(tracking / "upload.lock")


def upload_all(root: Path, end_unseen: bool = False) -> int:
    """Upload all pending journals; prints a line per run. Returns how many failed.

    end_unseen: also end the runs whose process cannot be seen from here and holds no lock (of a container that is
        gone): the caller knows that it is dead.
    """
    tracking = tracking_folder(root)
    uploader, failed = Uploader(tracking), 0
    with _only_one(tracking) as mine:
        if not mine:
            print("another process is uploading already")
            return 0
        for folder in remaining_journals(tracking):
            name = first_event(folder)["name"]
            try:
                standing = owner_standing(folder)
                given_up = end_unseen and standing == "unseen" and is_free(folder / "events.jsonl")
                uploader.send(folder, dead=standing == "dead" or given_up)
                print(f"{name}: {_state(folder, standing)}")
            except Exception as problem:  # noqa: BLE001  reported; the journal stays
                failed += 1
                print(f"{name}: {describe_exception(problem)}; kept in {folder}", file=sys.stderr)
    return failed


def _state(folder: Path, standing: Standing) -> str:
    """What became of a journal that was sent."""
    if not folder.exists():
        return "uploaded"
    if standing == "unseen":
        return "its process cannot be seen from here; if it is dead (its container is gone): foundry upload --unseen"
    return "still running"


if __name__ == "__main__":  # started by `start_uploader`
    upload_until_idle(Path.cwd())
