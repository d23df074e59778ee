"""The reading side of the journals: what runs wrote to disk goes to MLflow, live while they run, later if it was down.

A stage starts this module as a process of its own, one per checkout, which ends ten seconds after the last run has
ended. `foundry upload` sends everything that waits.

Every event may be sent twice (a kill between sending and noting): parameters, metrics, tags, inputs and files are the
same when repeated, and a run is looked up by its journal before it is created.
"""

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from components.tracking.journal import alive
from components.tracking.store import answers, connect, experiment_id, run_link, shown, tracking_folder

IDLE_SECONDS = 10.0
PATIENCE_SECONDS = 120.0


class NotAnsweringError(ConnectionError):
    """The store of a journal cannot be reached now."""


# ---------------------------------------------------------------- beside a stage


def follow(root: Path) -> None:
    """Start the uploading process of this checkout unless it runs; it outlives the caller by seconds."""
    folder = tracking_folder(root)
    with _only_one(folder) as mine:
        if not mine:
            return
    environment = {k: v for k, v in os.environ.items() if k != "MLFLOW_RUN_ID"}
    with (folder / "upload.log").open("a") as log:
        subprocess.Popen(
            [sys.executable, "-m", "components.tracking.upload"],
            cwd=root,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def settle(journal: Path, patience: float = PATIENCE_SECONDS) -> bool:
    """Wait until an ended journal is in MLflow. When it cannot be, say so (once per checkout and cause) and go on."""
    root, deadline = journal.parent.parent.parent, time.monotonic() + patience
    while journal.exists():
        problem = _state(journal).get("problem", "")
        if problem or time.monotonic() > deadline:
            _announce(journal.parent, problem or f"not uploaded after {patience:.0f} s")
            return False
        follow(root)
        time.sleep(0.1)
    return True


def _announce(tracking: Path, problem: str) -> None:
    said = tracking / "said"
    if not said.exists() or said.read_text(encoding="utf-8") != problem:
        said.write_text(problem, encoding="utf-8")
        print(
            f"warning: MLflow: {problem}. Runs are kept in {tracking} and go up with the next run, or with"
            " `foundry upload`.",
            file=sys.stderr,
        )


def watch(root: Path) -> None:
    """Follow every journal below `root` until none has a living owner and ten seconds have passed."""
    tracking, quiet_since = tracking_folder(root), time.monotonic()
    while True:
        with _only_one(tracking) as mine:
            if not mine:
                return
            uploader = Uploader(tracking)
            while time.monotonic() - quiet_since < IDLE_SECONDS:
                if uploader.round():
                    quiet_since = time.monotonic()
                time.sleep(0.2)
        # A run may have begun between the last look and the unlock, and have seen the lock still taken.
        if not any(owner_lives(folder) for folder in journals(tracking)):
            return
        quiet_since = time.monotonic()


@contextlib.contextmanager
def _only_one(tracking: Path) -> Iterator[bool]:
    """Whether this process now holds the checkout's upload lock; the kernel frees it when the process dies."""
    with (tracking / "upload.lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
            return
        yield True


# ---------------------------------------------------------------- the uploader


def journals(tracking: Path) -> list[Path]:
    """The journals that wait, oldest first: a pipeline before its stages."""
    return sorted(folder.parent for folder in tracking.glob("[0-9]*/events.jsonl"))


class Uploader:
    """Sends journals to their stores; remembers per journal how far it came."""

    def __init__(self, tracking: Path) -> None:
        self._tracking = tracking
        self._clients: dict[str, Any] = {}
        self._retry_at: dict[str, float] = {}

    def round(self) -> bool:
        """One look at every journal; True while something is going on (a living owner, or bytes sent)."""
        busy = False
        for folder in journals(self._tracking):
            living = owner_lives(folder)
            busy = busy or living
            if time.monotonic() < self._retry_at.get(folder.name, 0):
                continue
            try:
                busy = self.send(folder, dead=not living) or busy
            except Exception as problem:  # noqa: BLE001  any refusal of the store must leave the journal for later
                _note(folder, problem=_one_line(problem))
                self._retry_at[folder.name] = time.monotonic() + 15
        return busy

    def send(self, folder: Path, dead: bool) -> bool:
        """Send what is new in one journal; a dead owner's run is closed as KILLED. True when anything was sent.

        Raises:
            NotAnsweringError: nothing listens at the store's address.
        """
        events, offset = _new_events(folder)
        if not events and not dead:
            return False
        start = _first_event(folder)
        if not answers(start["store"]):
            raise NotAnsweringError(f"{shown(start['store'])} does not answer")
        client = self._client(start["store"])
        run_id = self._run_id(client, folder, start)
        for kind, group in _grouped(events):
            _SENDERS[kind](client, run_id, folder, group)
        _note(folder, offset=offset, problem="")
        ended = any(event["kind"] == "end" for event in events)
        if dead and not ended:
            client.set_tag(run_id, "ended.because", "its process died")
            client.set_terminated(run_id, "KILLED")
        if ended or dead:
            self._finished(folder, run_link(start["store"], client.get_run(run_id).info.experiment_id, run_id))
        return True

    def _client(self, store: str) -> Any:
        if store not in self._clients:
            self._clients[store] = connect(store)
        return self._clients[store]

    def _run_id(self, client: Any, folder: Path, start: dict[str, Any]) -> str:
        known = _state(folder).get("run_id") or self._lookup(client, start, folder.name)
        if not known:
            experiment = experiment_id(client, start["store"], start["experiment"])
            tags = {**start["tags"], "journal": folder.name}
            parent = self._parent(client, start)
            if parent:
                tags["mlflow.parentRunId"] = parent
            run = client.create_run(experiment, start["time"], {k: v[:5000] for k, v in tags.items()}, start["name"])
            known = run.info.run_id
            _send_params(client, known, start["params"])
            _send_inputs(client, known, start["inputs"])
        _note(folder, run_id=known)
        return str(known)

    def _parent(self, client: Any, start: dict[str, Any]) -> str:
        kind, _, journal = start["parent"].partition("journal:")
        if not journal:
            return str(kind)
        folder = self._tracking / journal
        if folder.exists():
            return self._run_id(client, folder, _first_event(folder))
        return self._lookup(client, start, journal)

    def _lookup(self, client: Any, start: dict[str, Any], journal: str) -> str:
        experiment = experiment_id(client, start["store"], start["experiment"])
        found = client.search_runs([experiment], f"tags.journal = '{journal}'", max_results=1)
        return str(found[0].info.run_id) if found else ""

    def _finished(self, folder: Path, link: str) -> None:
        done = self._tracking / "done"
        done.mkdir(exist_ok=True)
        (done / folder.name).write_text(link, encoding="utf-8")
        folder.rename(gone := self._tracking / f".{folder.name}")
        shutil.rmtree(gone)
        (self._tracking / "said").unlink(missing_ok=True)


def uploaded_link(tracking: Path, journal: str) -> str:
    """The page of the MLflow run that a journal became; empty while it waits."""
    note = tracking / "done" / journal
    return note.read_text(encoding="utf-8") if note.exists() else ""


# ---------------------------------------------------------------- one sender per kind of event


Events = list[dict[str, Any]]


def _send_params(client: Any, run_id: str, params: dict[str, str]) -> None:
    from mlflow.entities import Param

    items = [Param(_name(key), value[:6000]) for key, value in sorted(params.items())]
    for first in range(0, len(items), 100):
        client.log_batch(run_id, params=items[first : first + 100])


def _send_inputs(client: Any, run_id: str, inputs: list[dict[str, str]]) -> None:
    from mlflow.entities import DatasetInput, InputTag

    from components.tracking.dataset import dvc_dataset

    datasets = [
        DatasetInput(
            dvc_dataset(item), [InputTag("mlflow.data.context", "input"), InputTag("dvc.stage", item["stage"])]
        )
        for item in inputs
    ]
    if datasets:
        client.log_inputs(run_id, datasets)


def _send_metrics(client: Any, run_id: str, folder: Path, events: Events) -> None:
    from mlflow.entities import Metric

    points = [
        Metric(_name(name), value, event["time"], event["step"])
        for event in events
        for name, value in event["values"].items()
    ]
    for first in range(0, len(points), 1000):
        client.log_batch(run_id, metrics=points[first : first + 1000])


def _send_tags(client: Any, run_id: str, folder: Path, events: Events) -> None:
    for event in events:
        for name, value in event["values"].items():
            client.set_tag(run_id, name, value)


def _send_artifact(client: Any, run_id: str, folder: Path, events: Events) -> None:
    for event in events:
        where = Path(event["path"]).parent.as_posix()
        client.log_artifact(run_id, str(folder / "files" / event["path"]), None if where == "." else where)


def _send_model(client: Any, run_id: str, folder: Path, events: Events) -> None:
    from components.tracking.registry import register_version

    for event in events:
        register_version(client, run_id, folder / "files", event["request"])


def _send_end(client: Any, run_id: str, folder: Path, events: Events) -> None:
    client.set_terminated(run_id, events[-1]["status"], events[-1]["time"])


def _send_start(client: Any, run_id: str, folder: Path, events: Events) -> None:
    """The run itself exists by now."""


_SENDERS: dict[str, Callable[[Any, str, Path, Events], None]] = {
    "start": _send_start,
    "metrics": _send_metrics,
    "tags": _send_tags,
    "artifact": _send_artifact,
    "model": _send_model,
    "end": _send_end,
}


def _name(text: str) -> str:
    """MLflow's alphabet for parameter and metric names."""
    return "".join(c if c.isalnum() or c in "_-. /:" else "_" for c in text)[:250]


# ---------------------------------------------------------------- a journal's files


def _new_events(folder: Path) -> tuple[Events, int]:
    """Whole lines after the noted offset, and the offset behind them; a line still being written is left."""
    start = int(_state(folder).get("offset", 0))
    with (folder / "events.jsonl").open("rb") as handle:
        handle.seek(start)
        data = handle.read()
    whole = data[: data.rfind(b"\n") + 1]
    return [json.loads(line) for line in whole.splitlines()], start + len(whole)


def _grouped(events: Events) -> Iterator[tuple[str, Events]]:
    group: Events = []
    for event in events:
        if group and group[-1]["kind"] != event["kind"]:
            yield group[-1]["kind"], group
            group = []
        group.append(event)
    if group:
        yield group[-1]["kind"], group


def _first_event(folder: Path) -> dict[str, Any]:
    with (folder / "events.jsonl").open(encoding="utf-8") as handle:
        first: dict[str, Any] = json.loads(handle.readline())
    return first


def owner_lives(folder: Path) -> bool:
    """Whether the process that writes this journal still runs."""
    try:
        return alive(_first_event(folder)["owner"])
    except FileNotFoundError:
        return False  # uploaded and removed by another process since it was listed


def _state(folder: Path) -> dict[str, Any]:
    try:
        state: dict[str, Any] = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return state


def _note(folder: Path, **values: Any) -> None:
    draft = folder / ".state.json"
    draft.write_text(json.dumps({**_state(folder), **values}), encoding="utf-8")
    draft.replace(folder / "state.json")


def _one_line(problem: BaseException) -> str:
    return " ".join(str(problem).split())[:300] or type(problem).__name__


# ---------------------------------------------------------------- by hand


def upload_all(root: Path) -> int:
    """Send everything that waits; prints a line per run. Returns how many could not be sent."""
    tracking = tracking_folder(root)
    uploader, failed = Uploader(tracking), 0
    with _only_one(tracking) as mine:
        if not mine:
            print("another process is uploading already")
            return 0
        for folder in journals(tracking):
            name = _first_event(folder)["name"]
            try:
                uploader.send(folder, dead=not owner_lives(folder))
                print(f"{name}: uploaded" if not folder.exists() else f"{name}: still running")
            except Exception as problem:  # noqa: BLE001  reported; the journal stays
                failed += 1
                print(f"{name}: {_one_line(problem)}; kept in {folder}", file=sys.stderr)
    return failed


if __name__ == "__main__":  # started by `follow`
    watch(Path.cwd())
