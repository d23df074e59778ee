"""Trainable weights by name, in files beside the checkpoints until the run ends."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from components.base.errors import UserError
from components.base.files import whole_file

Weights = Mapping[str, torch.Tensor]


def save_weights(file: Path, named: Weights) -> None:
    """Write weights; the file is there once it is complete."""
    with whole_file(file) as partial:
        save_file({name: weight.detach().cpu().contiguous() for name, weight in named.items()}, partial)


def load_weights(file: Path) -> dict[str, torch.Tensor]:
    """Weights of a file. Raises UserError when it is missing or damaged."""
    try:
        return load_file(file)
    except (FileNotFoundError, SafetensorError) as problem:
        raise UserError(f"{file}: not readable ({problem}); delete {file.parent} and train again") from None


def put_weights(saved: Weights, named: Weights) -> None:
    """Copy saved weights into those of a model, by name."""
    with torch.no_grad():
        for name, weight in named.items():
            weight.copy_(saved[name])


def copy_to_host(named: Weights) -> dict[str, torch.Tensor]:
    """A copy in the host's memory."""
    return {name: weight.detach().to("cpu", copy=True) for name, weight in named.items()}
