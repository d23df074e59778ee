"""Read journals that other processes write: pending journals, new events, and the uploaded offset."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from components.base.owner import Standing, standing
from components.tracking.journal import Events


def journals(tracking: Path) -> list[Path]:
    """The pending journals, oldest first: a pipeline before its stages."""
    return sorted(folder.parent for folder in tracking.glob("[0-9]*/events.jsonl"))


def new_events(folder: Path) -> tuple[Events, int]:
    """Whole lines after the stored offset, and the offset after them; an incomplete last line is skipped."""
    start = int(read_state(folder).get("offset", 0))
    with (folder / "events.jsonl").open("rb") as handle:
        handle.seek(start)
        data = handle.read()
    whole = data[: data.rfind(b"\n") + 1]
    return [json.loads(line) for line in whole.splitlines()], start + len(whole)


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
    """Whether the process that writes this journal runs, is dead, or cannot be seen from here."""
    try:
        return standing(first_event(folder)["owner"], folder / "events.jsonl")
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
