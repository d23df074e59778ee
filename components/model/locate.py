"""Find the folder of a fetched model: its own folder, or the hub snapshot that hub.json names."""

import json
from pathlib import Path

from components.base.errors import UserError


def locate_model(folder: Path) -> Path:
    """The folder to load a model from, given outputs/fetch/models/NAME (which may hold only hub.json).

    Raises:
        UserError: nothing was fetched there, or the snapshot is no longer in the hub's cache.
    """
    pointer = folder / "hub.json"
    if pointer.is_file():
        return _snapshot(pointer)
    if not (folder / "config.json").is_file():
        raise UserError(
            f"{folder}: no model here; declare fetch.models.{folder.name} and run the fetch stage (dvc repro)"
        )
    return folder


def _snapshot(pointer: Path) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    wanted = json.loads(pointer.read_text(encoding="utf-8"))
    try:
        return Path(snapshot_download(wanted["repo"], revision=wanted["revision"], local_files_only=True))
    except LocalEntryNotFoundError:
        what = f"{wanted['repo']} at {wanted['revision']}"
        raise UserError(
            f"{pointer}: {what} is not in the hub's cache; run the fetch stage again (dvc repro -f fetch)"
        ) from None
