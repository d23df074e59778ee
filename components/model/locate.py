"""Find the folder of a fetched model: its own folder, or the hub snapshot that hub.json names."""

import json
import logging
from pathlib import Path
from typing import Any

from components.base.errors import UserError
from components.base.hub import HubRepo, download, find_cached

log = logging.getLogger(__name__)


def locate_model(folder: Path) -> Path:
    """The folder to load a model from, given outputs/fetch/models/NAME (which may hold only hub.json).

    A machine that has the pointer without the snapshot (a fresh clone, a pod, another node) downloads the pinned files.

    Raises:
        UserError: nothing was fetched there, or the hub does not give the snapshot.
    """
    pointer = folder / "hub.json"
    wanted = _read_pointer(pointer)
    if wanted is not None:
        return _snapshot(wanted, pointer)
    if not (folder / "config.json").is_file():
        raise UserError(
            f"{folder}: no model here; declare fetch.models.{folder.name} and run the fetch stage (dvc repro)"
        )
    return folder


def hub_repository(folder: Path) -> tuple[str, str] | None:
    """(name, revision) of the hub's repository of a fetched model; None for any other origin."""
    wanted = _read_pointer(folder / "hub.json")
    return (wanted["repo"], wanted["revision"]) if wanted else None


def _read_pointer(pointer: Path) -> dict[str, Any] | None:
    return json.loads(pointer.read_text(encoding="utf-8")) if pointer.is_file() else None


def _snapshot(wanted: dict[str, Any], pointer: Path) -> Path:
    repo = HubRepo("model", wanted["repo"], wanted["revision"])
    if "files" not in wanted:
        raise UserError(f"{pointer}: does not list its files; run the fetch stage again (dvc repro -f fetch)")
    cached = find_cached(repo, wanted["files"])
    if cached:
        return cached
    log.info("%s is not in the hub's cache on this machine; downloading it (%s)", repo, pointer)
    return download(repo, f"fetch.models.{pointer.parent.name}.origin", wanted["files"])
