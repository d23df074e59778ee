"""Tensors of a step on their way from the device to the host, and the numbers made of them."""

from dataclasses import dataclass

import torch

from components.training.batches import Batch
from components.training.rows import PlacedRow
from components.training.watch import measure_spread


class Reading:
    """Copies of tensors for the host. `take` waits for the copies, not for what the device was given after them."""

    def __init__(self, **tensors: torch.Tensor) -> None:
        self._copies = {name: tensor.to("cpu", non_blocking=True) for name, tensor in tensors.items()}
        self._copied: torch.cuda.Event | None = None
        if any(tensor.is_cuda for tensor in tensors.values()):
            self._copied = torch.cuda.Event()
            self._copied.record()

    def take(self) -> dict[str, torch.Tensor]:
        """The copies, on the host."""
        if self._copied is not None:
            self._copied.synchronize()
        return self._copies


@dataclass(frozen=True)
class Unread:
    """A step that the device may still be working on.

    rows: those it ran. known: the metrics that the host has already. reading: what the others are made of.
    """

    step: int
    batch: Batch  # on the host
    rows: list[PlacedRow]
    seconds: float
    known: dict[str, float]
    reading: Reading

    def numbers(self) -> dict[str, float]:
        """The step's metrics by name, when the device has done the step.

        Of these are queries without hard negatives, and queries whose own or positive's text is masked in another
        document.
        """
        told, targets = self.reading.take(), self.batch.targets
        read = {f"train/{name}": float(value) for name, value in told.items() if name != "gram"}
        counted = {
            "data/groups_without_negatives": float((targets.group[:, 1:] < 0).all(1).sum()),
            "data/queries_with_masked_copies": float(targets.copies.any(1).sum()),
        }
        return self.known | measure_spread(told["gram"]) | read | counted

    def tokens(self) -> tuple[int, int]:
        """(tokens processed, tokens with padded-trainer counting: every sequence with its own prefix)."""
        packed = sum(placed.tokens for placed in self.rows)
        return packed, packed + sum(placed.repeated for placed in self.rows)
