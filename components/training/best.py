"""The weights of the best dev check, kept beside the checkpoints until the run ends.

A killed run resumes before its last checks, so the best of each kept checkpoint's curve stays too.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from components.training.weights import Weights, load_weights, put_weights, save_weights


def best_step(curve: Sequence[dict[str, Any]]) -> int | None:
    """Step of the first highest dev score; None without a dev check.

    >>> best_step([{"dev_ndcg_at_10": score} for score in (0.1, None, 0.4, 0.4)])
    2
    """
    scores = {step: row["dev_ndcg_at_10"] for step, row in enumerate(curve) if row["dev_ndcg_at_10"] is not None}
    return max(scores, key=scores.__getitem__) if scores else None


def save_best(folder: Path, step: int, named: Weights) -> None:
    """Write the trainable weights after a step."""
    save_weights(_file(folder, step), named)


def load_best(folder: Path, step: int, named: Weights) -> None:
    """Put the weights of a step back. Raises UserError when the file is missing or damaged."""
    put_weights(load_weights(_file(folder, step)), named)


def drop_best(folder: Path, needed: Sequence[int | None]) -> None:
    """Delete the weights of all other steps."""
    kept = {_file(folder, step) for step in needed if step is not None}
    for file in folder.glob("best-*.safetensors"):
        if file not in kept:
            file.unlink()


def _file(folder: Path, step: int) -> Path:
    return folder / f"best-{step:08d}.safetensors"
