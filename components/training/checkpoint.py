"""Atomic training checkpoints: safetensors in a folder that is renamed once complete, so SIGKILL is safe.

A checkpoint holds what a step changes (trainable weights, optimizer state) and the step's number. Data order, shots and
dropout are functions of (seed, step), so nothing else is needed to resume bit for bit.
"""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from components.base.errors import UserError
from components.base.hashing import file_hash

_NAME = re.compile(r"step-(\d{8})$")
_KEPT = 2


def save_checkpoint(
    folder: Path, step: int, named: dict[str, torch.nn.Parameter], optimizer: Any, state: dict[str, Any]
) -> Path:
    """Write `folder/step-NNNNNNNN`, then drop all but the newest two.

    Args:
        named: trainable parameters by name.
        optimizer: an AdamW over exactly these parameters, in this order.
        state: JSON-able extras (curve, best dev score, the parameters' fingerprint).
    """
    final = folder / f"step-{step:08d}"
    partial = folder / f"{final.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    tensors = {f"weight.{name}": parameter.detach().cpu().contiguous() for name, parameter in named.items()}
    for (name, _), moments in zip(named.items(), optimizer.state_dict()["state"].values(), strict=False):
        tensors |= {f"optimizer.{key}.{name}": value.cpu().contiguous() for key, value in moments.items()}
    save_file(tensors, partial / "tensors.safetensors")
    about = {**state, "step": step, "sha256": file_hash(partial / "tensors.safetensors")}
    (partial / "state.json").write_text(json.dumps(about), encoding="utf-8")
    partial.replace(final)
    for old in list_checkpoints(folder)[:-_KEPT]:
        shutil.rmtree(old)
    return final


def list_checkpoints(folder: Path) -> list[Path]:
    """Complete checkpoints, oldest first; partial folders of a killed run are ignored."""
    return sorted(path for path in folder.glob("step-*") if _NAME.search(path.name)) if folder.is_dir() else []


def checkpoint_step(path: Path) -> int:
    """Steps that were done when the checkpoint was written."""
    return int(path.name.removeprefix("step-"))


def load_checkpoint(path: Path, named: dict[str, torch.nn.Parameter], optimizer: Any) -> dict[str, Any]:
    """Restore weights and optimizer state; returns the saved `state`.

    Raises:
        UserError: a file is missing or damaged, or the checkpoint has other trainable parameters.
    """
    file = path / "tensors.safetensors"
    try:
        state: dict[str, Any] = json.loads((path / "state.json").read_text(encoding="utf-8"))
        if file_hash(file) != state["sha256"]:
            raise UserError(f"{path}: damaged checkpoint (wrong sha256 of tensors.safetensors); delete the folder")
        with safe_open(file, framework="pt") as handle:
            tensors = {key: handle.get_tensor(key) for key in handle.keys()}  # noqa: SIM118 - not a dict
    except (FileNotFoundError, json.JSONDecodeError, KeyError, SafetensorError) as problem:
        raise UserError(f"{path}: not a complete checkpoint ({problem}); delete the folder") from None
    saved = {key.removeprefix("weight.") for key in tensors if key.startswith("weight.")}
    if saved != set(named):
        other = sorted(saved ^ set(named))[0]
        raise UserError(f"{path}: checkpoint of another model or adapter (differs in {other}); delete the folder")
    _restore(tensors, named, optimizer)
    return state


def _restore(tensors: dict[str, torch.Tensor], named: dict[str, torch.nn.Parameter], optimizer: Any) -> None:
    states: dict[int, dict[str, torch.Tensor]] = {}
    with torch.no_grad():
        for i, (name, parameter) in enumerate(named.items()):
            parameter.copy_(tensors[f"weight.{name}"])
            for key in ("step", "exp_avg", "exp_avg_sq"):
                if f"optimizer.{key}.{name}" in tensors:
                    states.setdefault(i, {})[key] = tensors[f"optimizer.{key}.{name}"]
    whole = optimizer.state_dict()
    optimizer.load_state_dict({"state": states, "param_groups": whole["param_groups"]})
