"""Which folder is the checkout: the nearest one with a dvc.yaml, from a folder upwards."""

from pathlib import Path


def find_checkout(start: Path) -> Path | None:
    """The checkout that `start` lies in; None outside any."""
    start = start.resolve()
    return next((folder for folder in (start, *start.parents) if (folder / "dvc.yaml").is_file()), None)
