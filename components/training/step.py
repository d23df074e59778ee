"""One training step: rows -> vectors -> loss -> gradients of the adapter.

Direct: the graph of every row is kept until the loss is computed. GradCache (Gao 2021, arXiv 2101.06983): a first pass
without graphs gives the vectors, the loss gives their gradients, a second pass runs each row again and applies them, so
memory is that of one row for any batch size. Each row's random numbers are seeded by (seed, step, row), so the second
pass replays the first, and neither depends on the number of processes.
"""

import math
from collections.abc import Callable
from typing import Any

import torch

from components.base import watchdog
from components.model.backbone import pooled
from components.model.device import send
from components.training.rows import PlacedRow
from components.training.world import World

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class Step:
    """Runs rows through the model and leaves the loss's gradients in its trainable parameters."""

    def __init__(self, model: Any, pooling: str, seed: int, gradcache: bool, world: World) -> None:
        self.model, self.pooling, self.seed, self.gradcache, self.world = model, pooling, seed, gradcache, world
        self.device = next(model.parameters()).device
        self.trainable = [p for p in model.parameters() if p.requires_grad]
        self.half = any(p.dtype == torch.bfloat16 for p in model.parameters())  # then autocast the adapter to bf16

    def autocast(self) -> torch.autocast:
        """The precision of every forward pass of the model in training: the steps' and the dev checks'."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.half)

    def run(self, step: int, rows: list[PlacedRow], queries: int, loss: Loss) -> float:
        """Gradients of `loss(query vectors, document vectors)`, summed over all processes.

        Args:
            rows: the whole batch's rows, in the same order in every process.
            queries: how many of the batch's vectors are queries (they come first).

        Returns:
            the loss; NaN or inf is returned without computing gradients.

        Raises:
            torch.OutOfMemoryError: in every process, when a row does not fit the card of one.
        """
        costs = [placed.tokens for placed in rows]
        mine = [(i, rows[i]) for i in self.world.owns(costs)]
        spare = [(i, rows[i]) for i in self.world.fillers(costs)]
        total = sum(len(placed.places) for placed in rows)
        # On the device once: both passes of GradCache read the same rows, with the attention mask that the first made.
        every = [(i, placed.to(self.device)) for i, placed in (*mine, *spare)]
        parts: list[torch.Tensor] = []

        def encode() -> None:
            with torch.set_grad_enabled(not self.gradcache):
                parts.extend(self._encode(step, i, placed) for i, placed in every)

        self._within_memory(encode)
        at = self._places(mine)
        vectors = self._complete(parts[: len(mine)], at, total)
        value = loss(vectors[:queries], vectors[queries:])
        read = float(value.detach())  # the one time in a step that the host waits for the device
        if not math.isfinite(read):
            return read

        def backward() -> None:
            value.backward()
            assert vectors.grad is not None
            gradients = list(vectors.grad.index_select(0, at).split([len(placed.places) for _, placed in mine]))
            gradients += [torch.zeros(len(one.places), vectors.shape[1], device=self.device) for _, one in spare]
            for part, (i, placed), gradient in zip(parts, every, gradients, strict=True):
                (self._encode(step, i, placed) if self.gradcache else part).backward(gradient)

        self._within_memory(backward)
        for parameter in self.trainable:  # a process without rows still joins the all-reduce
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        self.world.sum_([p.grad for p in self.trainable if p.grad is not None])
        return read

    def _within_memory(self, work: Callable[[], None]) -> None:
        """Do `work`; when a process runs out of its card's memory, all raise, so that none waits for another.

        Not under fsdp2, whose work is itself collective: the process ends, and all start again with smaller rows.
        """
        try:
            work()
            full = False
        except torch.OutOfMemoryError:  # handled below, where the traceback no longer holds the row's tensors
            if self.world.sharded:
                raise
            full = True
        if self.world.any(full):
            raise torch.OutOfMemoryError("a row does not fit the card's memory")

    def _encode(self, step: int, i: int, placed: PlacedRow) -> torch.Tensor:
        watchdog.beat()
        torch.manual_seed(hash((self.seed, step, i)) & 0x7FFFFFFF)
        assert placed.row is not None  # packed by the process that encodes it
        with self.autocast():
            return pooled(self.model, placed.row, self.pooling)

    def _places(self, rows: list[tuple[int, PlacedRow]]) -> torch.Tensor:
        """int64 [n]: the places of all vectors of these rows, on the device by one copy."""
        places = torch.tensor([place for _, placed in rows for place in placed.places], dtype=torch.int64)
        return send(places, self.device)

    def _complete(self, parts: list[torch.Tensor], at: torch.Tensor, total: int) -> torch.Tensor:
        """All vectors [total, dim] as a leaf tensor that collects its gradient; a process may have no row."""
        vectors = torch.zeros(total, int(self.model.config.hidden_size), device=self.device)
        if parts:
            vectors.index_copy_(0, at, torch.cat(parts).detach())
        self.world.sum_([vectors])
        return vectors.requires_grad_()
