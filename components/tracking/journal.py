"""Write-ahead log of MLflow events. Logging never blocks on the server and survives SIGKILL.

One folder per run under .cache/tracking: `events.jsonl` (append-only), `files/` (small artifacts).
components/tracking/upload.py uploads the journals in a separate process, so that a stage neither imports MLflow
(8 s of CPU on two cores) nor stalls when the server is down. A journal is removed once it is fully uploaded.
"""

import json
import os
import shutil
import sys
import threading
import time
import uuid
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from components.base.locks import hold_open
from components.base.owner import describe_owner
from components.tracking.store import redact_uri

Value = dict[str, Any]
Events = list[Value]  # lines of events.jsonl: kind, time and the kind's own fields


@dataclass(frozen=True)
class RunStart:
    """First event of a run.

    parent: an MLflow run id, or `journal:ID` of a run that is not uploaded yet.
    root: the checkout, if its dvc owns the run and the uploader ends it; see components/tracking/dvc_run.py.
    """

    store: str
    experiment: str
    name: str
    parent: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)
    inputs: list[dict[str, str]] = field(default_factory=list)
    root: str = ""


class Journal:
    """Writer of a journal: one process appends whole lines, from any thread."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._events = (folder / "events.jsonl").open("a", encoding="utf-8")
        self._one_writer = threading.Lock()

    @classmethod
    def open(cls, tracking: Path, start: RunStart, pid: int | None = None) -> "Journal":
        """Create a journal below `tracking`; the folder is created atomically with its first event.

        pid: the process that owns the run; this one by default.
        """
        identity = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{uuid.uuid4().hex[:8]}"
        draft, checkout = tracking / f".{identity}", tracking.resolve().parents[1]
        (draft / "files").mkdir(parents=True)
        event = {"kind": "start", "time": _now(), "owner": describe_owner(checkout, pid), **asdict(start)}
        event["store"] = redact_uri(start.store)  # the uploader has user and password in its environment
        (draft / "events.jsonl").write_text(json.dumps(event) + "\n", encoding="utf-8")
        journal = cls(draft)
        hold_open(journal._events.fileno())
        journal.folder = draft.rename(tracking / identity)
        return journal

    @property
    def identity(self) -> str:
        return self.folder.name

    def metrics(self, values: dict[str, float], step: int | None = None) -> None:
        """Log metrics at a step, with the time of this call."""
        self._append({"kind": "metrics", "values": {k: float(v) for k, v in values.items()}, "step": step or 0})

    def tags(self, values: dict[str, str]) -> None:
        self._append({"kind": "tags", "values": values})

    def artifact(self, file: Path, path: str) -> None:
        """Store a copy of `file`, to be uploaded as the artifact `path` of the run."""
        link_or_copy(file, self.folder / "files" / path)
        self._append({"kind": "artifact", "path": path})

    def model(self, request: Value) -> None:
        """Register a model version from `files/`; see components/tracking/registry.py for the request's keys."""
        self._append({"kind": "model", "request": request})

    def summary(self, values: Value) -> None:
        """Describe a pipeline's run; see components/tracking/summary.py."""
        self._append({"kind": "summary", **values})

    def end(self, status: str) -> None:
        """Log the final status (FINISHED, FAILED or KILLED); no event may follow."""
        self._append({"kind": "end", "status": status})
        self.close()

    def close(self) -> None:
        """Write no more; the run goes on by `append_events`."""
        self._events.close()

    def _append(self, event: Value) -> None:
        with self._one_writer:
            self._events.write(json.dumps({"time": _now(), **event}) + "\n")
            self._events.flush()


def append_events(folder: Path, events: Events) -> None:
    """Append to a journal that another process owns, in one write, so that lines of two writers never mix.

    A missing journal has been closed and uploaded: its owner is dead, and the events are dropped with a warning.
    """
    lines = "".join(json.dumps({"time": _now(), **event}) + "\n" for event in events).encode()
    try:
        handle = os.open(folder / "events.jsonl", os.O_RDWR | os.O_APPEND)
    except FileNotFoundError:
        print(f"warning: MLflow: the run {folder.name} has ended; what this stage adds to it is lost", file=sys.stderr)
        return
    try:
        size = os.fstat(handle).st_size
        torn = size > 0 and os.pread(handle, 1, size - 1) != b"\n"  # its writer was killed in the middle of a line
        os.write(handle, b"\n" + lines if torn else lines)
    finally:
        os.close(handle)


def link_or_copy(file: Path, to: Path) -> None:
    """Hard-link `file` to `to`, or copy it across file systems. A link avoids a second copy of the weights."""
    to.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(file.resolve(), to)
    except OSError:
        shutil.copyfile(file, to)


def _now() -> int:
    return int(time.time() * 1000)
