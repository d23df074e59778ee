"""Select the torch device (CUDA or CPU)."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from components.base.errors import UserError

_CARD = Path("/dev/nvidia0")  # there is a GPU, whether or not torch can use it


def device_of(wanted: str) -> torch.device:
    """The device for `encoder.device`; `auto` is CUDA if available, else the CPU. A worker process has its own card.

    Raises:
        UserError: no GPU for `cuda`, or a GPU that torch cannot use: a driver that is too old, for example.
    """
    if wanted == "cpu":
        return torch.device("cpu")
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    if wanted == "cuda":
        raise UserError(f"params.yaml: encoder.device: cuda, but torch sees no GPU ({_why_no_gpu()}); set auto or cpu")
    if _CARD.exists() and torch.version.cuda is not None:
        raise UserError(
            f"this machine has a GPU that torch {torch.__version__} cannot use ({_why_no_gpu()}); renew its driver, or "
            "set encoder.device: cpu in params.yaml"
        )
    return torch.device("cpu")


def _why_no_gpu() -> str:
    """The first line of what CUDA says when it is started."""
    try:
        torch.cuda.init()
    except (RuntimeError, AssertionError) as problem:
        return str(problem).splitlines()[0]
    return "no device is visible"


@contextmanager
def card_memory_error_as_user_error(what: str, cure: str) -> Iterator[None]:
    """Turn the card's out-of-memory error into one line.

    Raises:
        UserError: the block ran out of the card's memory.
    """
    try:
        yield
    except torch.OutOfMemoryError:
        card = torch.cuda.get_device_properties(torch.cuda.current_device())
        memory = f"{card.name} has {card.total_memory / 2**30:.1f} GiB"
        raise UserError(f"{what}: out of the card's memory, {memory}; {cure}") from None


def use_expandable_segments() -> None:
    """Let torch's allocator grow its blocks: rows of many lengths otherwise leave holes that no later row fits in."""
    if torch.cuda.is_available():
        torch._C._accelerator_setAllocatorSettings("expandable_segments:True")


def card_has_bf16() -> bool:
    """Whether the card multiplies bf16. torch emulates it on those that do not (T4, V100), slower than fp32."""
    return torch.cuda.is_bf16_supported(including_emulation=False)


def send(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """The tensor on a device; to a card from pinned memory, so that the host does not wait for the card's work."""
    return (tensor.pin_memory() if device.type == "cuda" else tensor).to(device, non_blocking=True)


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
