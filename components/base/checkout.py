"""Find the checkout (or git worktree) that a folder belongs to."""

from pathlib import Path


def home(root: Path) -> Path:
    """The main checkout of `root`: for the worktree of an isolated run (.cache/runs/ID), its parent checkout."""
    root = root.resolve()
    return root.parents[2] if root.parts[-3:-1] == (".cache", "runs") else root


def find_checkout(start: Path) -> Path | None:
    """The nearest folder with a dvc.yaml, from `start` upwards: a checkout or worktree. None if there is none."""
    start = start.resolve()
    return next((folder for folder in (start, *start.parents) if (folder / "dvc.yaml").is_file()), None)
