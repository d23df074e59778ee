"""Accelerators of the cost plan: memory and peak FLOP/s from the vendors' data sheets (dense bf16, no sparsity).

The efficiency is the share of the peak that training reaches: measured, where docs/gpu/CARD.json is there (written by
benchmarks/gpu.py, docs/gpu/README.md), else `EFFICIENCY`, which is counted.
"""

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path

from components.base.errors import UserError

EFFICIENCY = 0.45
CPU_EFFICIENCY = 0.8  # starter run, relative to the CPU's matrix product rate
GIB = 2**30


@dataclass(frozen=True)
class Device:
    """One accelerator: usable memory in bytes, and peak FLOP/s. `has_bf16`: tensor cores multiply it."""

    name: str
    memory: float
    flops: float
    is_gpu: bool = True
    has_bf16: bool = True


GPUS = {
    "T4": Device("T4", 14.6 * GIB, 8.1e12, has_bf16=False),  # fp32
    "V100": Device("V100", 31.7 * GIB, 15.7e12, has_bf16=False),  # fp32
    "A10G": Device("A10G", 22.1 * GIB, 70e12),
    "L4": Device("L4", 22.0 * GIB, 121e12),
    "RTX-4090": Device("RTX-4090", 23.5 * GIB, 165e12),
    "L40S": Device("L40S", 44.4 * GIB, 362e12),
    "A100": Device("A100", 79.1 * GIB, 312e12),
    "H100": Device("H100", 79.1 * GIB, 989e12),
    "H200": Device("H200", 139.8 * GIB, 989e12),
}


def device_named(name: str) -> Device:
    """One of `GPUS`, or `cpu`: this machine's processor, its speed measured now.

    Raises:
        UserError: no such device.
    """
    if name == "cpu":
        return this_cpu()
    if name not in GPUS:
        raise UserError(f"plan: --gpu {name}: unknown; there are {', '.join(GPUS)} and cpu")
    return GPUS[name]


def own_device() -> Device:
    """This machine's first CUDA GPU, with its actual memory; an H100 if there is none or it is not in `GPUS`."""
    import torch

    if not torch.cuda.is_available():
        return GPUS["H100"]
    card = torch.cuda.get_device_properties(0)
    known = GPUS.get(_known_as(card.name) or "H100", GPUS["H100"])
    return replace(known, name=card.name, memory=float(card.total_memory))


def _known_as(name: str) -> str | None:
    """The key of `GPUS` for torch's name of a card; the longest that is in it: an L40S is no L4."""
    found = [key for key in GPUS if key.replace("-", " ") in name or key == name]
    return max(found, key=len, default=None)


@dataclass(frozen=True)
class Efficiency:
    """A share of a device's peak, and where it comes from."""

    share: float
    source: str


def efficiency_of(device: Device, root: Path, given: float | None = None) -> Efficiency:
    """The efficiency that was given, the one measured on such a card, or a counted one.

    Raises:
        UserError: the card's figures hold no rate of training.
    """
    if given:
        return Efficiency(given, "given")
    if not device.is_gpu:
        return Efficiency(CPU_EFFICIENCY, "measured on the starter")
    file = root / "docs" / "gpu" / f"{_known_as(device.name)}.json"
    if not file.is_file():
        return Efficiency(EFFICIENCY, "counted: no such card was measured")
    try:
        rate = float(json.loads(file.read_text(encoding="utf-8"))["training_flops_per_second"])
    except (ValueError, KeyError, TypeError):
        raise UserError(
            f"{file}: no figures of benchmarks/gpu.py with training_flops_per_second; run its section gradcache again"
        ) from None
    return Efficiency(rate / device.flops, f"measured, {file.relative_to(root)}")


def this_cpu() -> Device:
    """All cores of this machine; peak = the measured rate of an fp32 matrix product."""
    import psutil
    import torch

    from components.training.meter import matmul_rate

    memory = psutil.virtual_memory().total
    return Device(f"cpu x{os.cpu_count()}", memory, matmul_rate(torch.device("cpu"), torch.float32), is_gpu=False)
