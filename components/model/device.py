"""Select the torch device (CUDA or CPU)."""

import os

import torch

from components.base.errors import UserError


def device_of(wanted: str) -> torch.device:
    """The device for `encoder.device`; `auto` is CUDA if available, else the CPU. A worker process has its own card."""
    if wanted == "cuda" and not torch.cuda.is_available():
        raise UserError("params.yaml: encoder.device: cuda, but torch sees no GPU; set auto or cpu")
    if wanted == "cuda" or (wanted == "auto" and torch.cuda.is_available()):
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu" if wanted == "auto" else wanted)


def use_expandable_segments() -> None:
    """Let torch's allocator grow its blocks: rows of many lengths otherwise leave holes that no later row fits in."""
    if torch.cuda.is_available():
        torch._C._accelerator_setAllocatorSettings("expandable_segments:True")


def all_cards() -> list[torch.device]:
    """Every GPU that this process may see."""
    return [torch.device("cuda", number) for number in range(torch.cuda.device_count())]


def card_environment(worker: int) -> dict[str, str]:
    """Environment variables that give worker process number `worker` one GPU, in turn; none where there is no GPU.

    They must be set before the process first uses CUDA.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    cards = visible.split(",") if visible else [str(number) for number in range(torch.cuda.device_count())]
    return {"CUDA_VISIBLE_DEVICES": cards[worker % len(cards)]} if cards else {}
