"""A trained or registered model in a folder of its own: for another client, or as it is registered."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from components.base.errors import UserError
from components.serving.ask import PROMPTS, Model


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A draft beside `folder`, which becomes it at the end. Raises UserError when `folder` exists."""
    if folder.exists():
        raise UserError(f"{folder}: exists; name a new folder")
    draft = folder.with_name(f"{folder.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    yield draft
    draft.rename(folder)


def copy_model(model: Model, folder: Path, without: Sequence[str] = ()) -> None:
    """The model's files, with its prompts, into an existing folder, but for those of these patterns."""
    from components.model.export import change_json

    shutil.copytree(model.folder, folder, ignore=shutil.ignore_patterns(*without), dirs_exist_ok=True)
    change_json(folder / PROMPTS, lambda about: about | {"prompts": model.prompts})


def export_folder(model: Model, folder: Path) -> Path:
    """Write the model with its chosen shots into a new folder. Raises UserError when it exists."""
    with new_folder(folder) as draft:
        copy_model(model, draft)
    return folder
