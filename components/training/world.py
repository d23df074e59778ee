"""The processes that train together: plain torch.distributed under torchrun, or one process alone.

Every process knows the whole batch. Each row is encoded by one process; vectors are completed by a sum over
processes (the others hold zeros, so the sum is exact), the loss is computed everywhere, and only the adapter's
gradients are summed. So cross-device negatives carry gradients, and N processes equal one up to the order of sums.
"""

import os
from dataclasses import dataclass

import torch
from torch import distributed


@dataclass(frozen=True)
class World:
    """This process's place among `size` processes."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes files and logs."""
        return self.rank == 0

    def sum_(self, tensors: list[torch.Tensor]) -> None:
        """Add up each tensor over all processes, in place."""
        if self.size > 1:
            for tensor in tensors:
                distributed.all_reduce(tensor)

    def owns(self, costs: list[int]) -> list[bool]:
        """Which items are this process's: longest first to the least loaded, the same plan everywhere."""
        loads, mine = [0] * self.size, [False] * len(costs)
        for i in sorted(range(len(costs)), key=lambda i: (-costs[i], i)):
            rank = min(range(self.size), key=lambda r: (loads[r], r))
            loads[rank] += costs[i]
            mine[i] = rank == self.rank
        return mine


def join_world() -> World:
    """Join the processes torchrun started (its RANK and WORLD_SIZE); alone without torchrun."""
    if not distributed.is_torchelastic_launched():
        return World()
    if not distributed.is_initialized():
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    return World(distributed.get_rank(), distributed.get_world_size())
