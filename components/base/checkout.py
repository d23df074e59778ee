"""Which checkout a folder belongs to."""

from pathlib import Path


def home(root: Path) -> Path:
    """The checkout; for the worktree of an isolated run (.cache/runs/ID), the checkout it belongs to."""
    root = root.resolve()
    return root.parents[2] if root.parts[-3:-1] == (".cache", "runs") else root


def find_checkout(start: Path) -> Path | None:
    """The checkout or worktree that `start` lies in: the nearest folder with a dvc.yaml, upwards; None outside any."""
    start = start.resolve()
    return next((folder for folder in (start, *start.parents) if (folder / "dvc.yaml").is_file()), None)
