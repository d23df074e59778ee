"""Sends journals to their MLflow stores and stores the uploaded offset of each.

Every event may be sent twice (after a kill between sending and storing the offset). This is safe: parameters, metrics,
tags, inputs and files are idempotent, and a run is looked up by its journal before it is created.
"""

import json
import shutil
import time
from pathlib import Path
from typing import Any

from components.base.short_lines import describe_exception
from components.tracking.dvc_run import close_dvc_run
from components.tracking.journal_files import (
    all_events,
    first_event,
    group_by_kind,
    new_events,
    note_state,
    owner_standing,
    read_state,
    remaining_journals,
)
from components.tracking.lockfile import Repairs
from components.tracking.senders import SENDERS, send_inputs, send_params
from components.tracking.store import connect, experiment_id, is_reachable, redact_uri, run_link, with_credentials

OWNER_TAG = "foundry.owner"  # of an MLflow run: who writes it, see components/base/owner.py


class NotAnsweringError(ConnectionError):
    """The store of a journal is not reachable."""


class Uploader:
    """Sends journals to their stores; stores the uploaded offset per journal.

    It also repairs what a killed dvc left half-written in the checkouts of its journals, also after their upload: a
    plain `dvc repro` that is killed before its first run begins has no journal.

    Attributes:
        killed_at: when the run of a killed owner was ended (time.monotonic); -inf before.
    """

    def __init__(self, tracking: Path) -> None:
        self._tracking, self.killed_at = tracking, float("-inf")
        self._repairs, self._roots = Repairs(), {tracking.parent.parent}
        self._clients: dict[str, Any] = {}
        self._retry_at: dict[str, float] = {}

    def round(self) -> bool:
        """Upload new events of every journal once; True if an owner process is alive or anything was sent."""
        busy = False
        for folder in remaining_journals(self._tracking):
            owner = owner_standing(folder)
            busy = busy or owner == "alive"
            if time.monotonic() < self._retry_at.get(folder.name, 0):
                continue
            try:
                busy = self.send(folder, dead=owner == "dead") or busy
            except Exception as problem:  # noqa: BLE001  on any error of the store the journal is kept for later
                note_state(folder, problem=describe_exception(problem))
                self._retry_at[folder.name] = time.monotonic() + 15
        for root in self._roots:
            self._repairs.repair(root)
        return busy

    def send(self, folder: Path, dead: bool) -> bool:
        """Send new events of one journal; the run of a dead owner is ended as KILLED. True if anything was sent.

        Raises:
            NotAnsweringError: the store's server does not accept connections.
        """
        if dead and first_event(folder).get("root"):
            self._roots.add(root := Path(first_event(folder)["root"]))
            self._repairs.repair(root)  # plain `dvc repro` would fail from now on
            if all_events(folder)[-1]["kind"] != "end":
                close_dvc_run(folder)
        events, offset = new_events(folder)
        if not events and not dead:
            return False
        start = first_event(folder)
        if not is_reachable(start["store"]):
            raise NotAnsweringError(f"{redact_uri(start['store'])} does not answer")
        client = self._client(start["store"])
        run_id = self._run_id(client, folder, start)
        ended = any(event["kind"] == "end" for event in events)
        if ended:
            self._send_parent(start)
        for kind, group in group_by_kind(events):
            SENDERS[kind](client, run_id, folder, group)
        note_state(folder, offset=offset, problem="")
        if dead and not ended:
            client.set_tag(run_id, "ended.because", "its process died")
            client.set_terminated(run_id, "KILLED")
        if dead and {event["status"] for event in events if event["kind"] == "end"} <= {"KILLED"}:
            self.killed_at = time.monotonic()
        if ended or dead:
            self._finished(folder, run_link(start["store"], client.get_run(run_id).info.experiment_id, run_id))
        return True

    def _send_parent(self, start: dict[str, Any]) -> None:
        """Send what the pipeline's journal has: a stage waits for its own journal, and may be the last process."""
        folder = self._tracking / start["parent"].partition("journal:")[2]
        if folder != self._tracking and folder.exists():
            self.send(folder, dead=False)

    def _client(self, store: str) -> Any:
        if store not in self._clients:
            self._clients[store] = connect(with_credentials(store))
        return self._clients[store]

    def _run_id(self, client: Any, folder: Path, start: dict[str, Any]) -> str:
        known = read_state(folder).get("run_id") or self._lookup(client, start, folder.name)
        if not known:
            experiment = experiment_id(client, start["store"], start["experiment"])
            tags = {**start["tags"], "journal": folder.name, OWNER_TAG: json.dumps(start["owner"])}
            parent = self._parent(client, start)
            if parent:
                tags["mlflow.parentRunId"] = parent
            run = client.create_run(experiment, start["time"], {k: v[:5000] for k, v in tags.items()}, start["name"])
            known = run.info.run_id
            send_params(client, known, start["params"])
            send_inputs(client, known, start["inputs"])
        note_state(folder, run_id=known)
        return str(known)

    def _parent(self, client: Any, start: dict[str, Any]) -> str:
        kind, _, journal = start["parent"].partition("journal:")
        if not journal:
            return str(kind)
        folder = self._tracking / journal
        if folder.exists():
            return self._run_id(client, folder, first_event(folder))
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
    """Link to the MLflow run of a journal; empty while it is not uploaded."""
    note = tracking / "done" / journal
    return note.read_text(encoding="utf-8") if note.exists() else ""
