"""Accelerators of the cost plan: memory and peak FLOP/s from the vendors' data sheets (dense bf16, no sparsity).

`EFFICIENCY` is the share of the peak that long matrix products reach in this code. It is an assumption until
benchmarks/gpu.py has run on the GPU (docs/gpu/README.md).
"""

import os
from dataclasses import dataclass

from components.base.errors import UserError

EFFICIENCY = 0.45
CPU_EFFICIENCY = 0.8  # starter run, relative to the CPU's matrix product rate
GIB = 2**30


@dataclass(frozen=True)
class Device:
    """One accelerator: usable memory in bytes, and peak FLOP/s."""

    name: str
    memory: float
    flops: float
    is_gpu: bool = True


GPUS = {
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
    for name, device in GPUS.items():
        if name.replace("-", " ") in card.name:
            return Device(card.name, float(card.total_memory), device.flops)
    return Device(card.name, float(card.total_memory), GPUS["H100"].flops)


def this_cpu() -> Device:
    """All cores of this machine; peak = the measured rate of an fp32 matrix product."""
    import psutil
    import torch

    from components.training.meter import matmul_rate

    memory = psutil.virtual_memory().total
    return Device(f"cpu x{os.cpu_count()}", memory, matmul_rate(torch.device("cpu"), torch.float32), is_gpu=False)
