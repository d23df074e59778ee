"""Read journals that other processes write: pending journals, new events, and the uploaded offset."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from components.base.owner import Standing, owner_state
from components.tracking.journal import Events


def journals(tracking: Path) -> list[Path]:
    """The pending journals, oldest first: a pipeline before its stages."""
    return sorted(folder.parent for folder in tracking.glob("[0-9]*/events.jsonl"))


def remaining_journals(tracking: Path) -> Iterator[Path]:
    """The pending journals, each if it is still there at its turn: a pipeline's may go with the last of its stages."""
    yield from (folder for folder in journals(tracking) if folder.exists())


def new_events(folder: Path) -> tuple[Events, int]:
    """Whole lines after the stored offset, and the offset after them; an incomplete last line is skipped."""
    start = int(read_state(folder).get("offset", 0))
    with (folder / "events.jsonl").open("rb") as handle:
        handle.seek(start)
        data = handle.read()
    whole = data[: data.rfind(b"\n") + 1]
    return _parse(whole), start + len(whole)


def all_events(folder: Path) -> Events:
    """Every whole line of a journal."""
    data = (folder / "events.jsonl").read_bytes()
    return _parse(data[: data.rfind(b"\n") + 1])


def _parse(data: bytes) -> Events:
    """The events of these lines; a line that its writer was killed in the middle of is no event."""
    events: Events = []
    for line in data.splitlines():
        with contextlib.suppress(json.JSONDecodeError):
            events.append(json.loads(line))
    return events


def group_by_kind(events: Events) -> Iterator[tuple[str, Events]]:
    group: Events = []
    for event in events:
        if group and group[-1]["kind"] != event["kind"]:
            yield group[-1]["kind"], group
            group = []
        group.append(event)
    if group:
        yield group[-1]["kind"], group


def first_event(folder: Path) -> dict[str, Any]:
    with (folder / "events.jsonl").open(encoding="utf-8") as handle:
        first: dict[str, Any] = json.loads(handle.readline())
    return first


def owner_standing(folder: Path) -> Standing:
    """Whether a process that writes this journal runs (its owner, or a stage of the dvc that owns it), or is unseen."""
    try:
        start = first_event(folder)
        lock = None if start.get("root") else folder / "events.jsonl"  # a dvc that owns a run holds no lock
        owner = owner_state(start["owner"], lock)
        if owner == "dead" and start.get("root") and any(owner_state(who) != "dead" for who in running_stages(folder)):
            return "alive"
        return owner
    except FileNotFoundError:
        return "dead"  # uploaded and removed by another process since it was listed


def has_ended(folder: Path) -> bool:
    """Whether the run of this journal has logged its end, so that no event will follow."""
    try:
        with (folder / "events.jsonl").open("rb") as handle:
            handle.seek(max(0, handle.seek(0, 2) - 200))
            last = handle.read().splitlines()[-1]
    except FileNotFoundError:
        return True
    return b'"kind": "end"' in last


def stage_events(folder: Path) -> dict[str, dict[str, Any]]:
    """Stage -> its last event in a pipeline's journal, with `began`, the time of its first."""
    stages: dict[str, dict[str, Any]] = {}
    for event in all_events(folder):
        if event["kind"] == "stage":
            before = {} if event["status"] == "RUNNING" else stages.get(event["name"], {})
            began = before.get("began", event["time"])
            stages[event["name"]] = {**event, "began": began}
    return stages


def running_stages(folder: Path) -> list[Any]:
    """The owners of a pipeline's stages that have not ended."""
    return [event["owner"] for event in stage_events(folder).values() if event["status"] == "RUNNING"]


def read_state(folder: Path) -> dict[str, Any]:
    try:
        state: dict[str, Any] = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return state


def note_state(folder: Path, **values: Any) -> None:
    draft = folder / ".state.json"
    draft.write_text(json.dumps({**read_state(folder), **values}), encoding="utf-8")
    draft.replace(folder / "state.json")
