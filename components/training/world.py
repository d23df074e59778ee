"""The processes that train together: plain torch.distributed under torchrun, or one process alone.

Every process knows the whole batch. Each row is encoded by one process; vectors are completed by a sum over
processes (the others hold zeros, so the sum is exact), the loss is computed everywhere, and only the adapter's
gradients are summed. So cross-device negatives carry gradients, and N processes equal one up to the order of sums.

The frozen base is held whole by every process (`train.distributed: ddp`), or in shares that are gathered a layer at a
time (`fsdp2`, torch's `fully_shard`). The adapter is whole everywhere: it is small, and so a checkpoint of one process
is everyone's. Under fsdp2 a forward or backward is an act of all processes, so each runs the same number of rows;
where rows do not divide, spare runs of a row already encoded fill up, and their gradient is zero.
"""

import os
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import distributed


@dataclass(frozen=True)
class World:
    """This process's place among `size` processes. `sharded`: they share the weights (fsdp2)."""

    rank: int = 0
    size: int = 1
    sharded: bool = False

    @property
    def first(self) -> bool:
        """Whether this process writes files and logs."""
        return self.rank == 0

    def sum_(self, tensors: list[torch.Tensor]) -> None:
        """Add up each tensor over all processes, in place."""
        if self.size > 1:
            for tensor in tensors:
                distributed.all_reduce(tensor)

    def owns(self, costs: list[int]) -> list[int]:
        """Which items are this process's: longest first to the least loaded, the same plan everywhere."""
        return self._plan(costs)[self.rank]

    def spare(self, costs: list[int]) -> int:
        """How many more items this process has to run, to run as many as any other; 0 unless `sharded`."""
        plan = self._plan(costs)
        return max(map(len, plan)) - len(plan[self.rank]) if self.sharded else 0

    def _plan(self, costs: list[int]) -> list[list[int]]:
        """The items of each process, in ascending order."""
        loads, plan = [0] * self.size, [list[int]() for _ in range(self.size)]
        for i in sorted(range(len(costs)), key=lambda i: (-costs[i], i)):
            rank = min(range(self.size), key=lambda r: (loads[r], r))
            loads[rank] += costs[i]
            plan[rank].append(i)
        return [sorted(items) for items in plan]


def shard(model: Any, world: World) -> None:
    """Leave this process its share of the frozen base, a layer at a time (FSDP2); the trainable weights stay whole.

    Args:
        model: a peft model on its device, the same in every process.
    """
    if not world.sharded:
        return
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(next(model.parameters()).device.type, (world.size,))
    whole = {parameter for parameter in model.parameters() if parameter.requires_grad}
    for layer in model.get_base_model().layers:
        fully_shard(layer, mesh=mesh, ignored_params=whole)
    fully_shard(model, mesh=mesh, ignored_params=whole)


def join_world(how: Literal["ddp", "fsdp2"] = "ddp") -> World:
    """Join the processes torchrun started (its RANK and WORLD_SIZE); alone without torchrun.

    Args:
        how: what `train.distributed` says.
    """
    if not distributed.is_torchelastic_launched():
        return World()
    if not distributed.is_initialized():
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    size = distributed.get_world_size()
    return World(distributed.get_rank(), size, sharded=how == "fsdp2" and size > 1)
