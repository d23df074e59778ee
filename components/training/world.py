"""Distributed training: torch.distributed under torchrun (DDP or FSDP2), or a single process.

Every process draws the whole batch. Each row is packed and encoded by one process;
vectors are combined by an all-reduce sum (the other processes hold zeros, so the sum is exact), every process computes
the loss, and only the adapter's gradients are all-reduced. So cross-device negatives carry gradients, and N processes
equal one up to the order of sums.

The frozen base is replicated (`train.distributed: ddp`), or sharded and gathered one layer at a time (`fsdp2`, torch's
`fully_shard`). The adapter is small and always replicated, so the checkpoint of one process is valid for all. Under
fsdp2 forward and backward are collective, so every process runs the same number of rows; if rows do not divide evenly,
an already encoded row is run again as filler, with a zero gradient.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import torch
from torch import distributed

Made = TypeVar("Made")


@dataclass(frozen=True)
class World:
    """Rank of this process among `size` processes. `sharded`: the base weights are sharded (fsdp2)."""

    rank: int = 0
    size: int = 1
    sharded: bool = False
    host: Any = None  # a process group over the hosts' memory

    @property
    def first(self) -> bool:
        """Whether this is rank 0, which writes files and logs."""
        return self.rank == 0

    def sum_(self, tensors: list[torch.Tensor]) -> None:
        """All-reduce (sum) the tensors in place, all in one message: an adapter has hundreds of small ones."""
        if self.size == 1:
            return
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        distributed.all_reduce(flat)
        for tensor, summed in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(summed.view_as(tensor))

    def in_turn(self, make: Callable[[], Made]) -> Made:
        """Call `make` in the first process, then in the others, which find the files that the first has written."""
        made = make() if self.first else None
        if self.size > 1:
            distributed.barrier(group=self.host)
        return made if made is not None else make()

    def of_first(self, value: float) -> float:
        """The first process's value, for decisions on which all must agree to the bit."""
        agreed = torch.tensor([value], dtype=torch.float64)
        if self.size > 1:
            distributed.broadcast(agreed, 0, group=self.host)
        return float(agreed)

    def any(self, happened: bool) -> bool:
        """Whether it happened in any process; known to all."""
        if self.size == 1 or self.sharded:
            return happened
        seen = torch.tensor([happened], dtype=torch.int32)
        distributed.all_reduce(seen, distributed.ReduceOp.MAX, group=self.host)
        return bool(seen)

    def owns(self, costs: list[int]) -> list[int]:
        """Items of this process: longest first to the least loaded; every process computes the same plan."""
        return self._plan(costs)[self.rank]

    def fillers(self, costs: list[int]) -> list[int]:
        """Filler items that this process runs to match the busiest one: the cheapest, again; none unless `sharded`."""
        plan = self._plan(costs)
        spare = max(map(len, plan)) - len(plan[self.rank]) if self.sharded else 0
        return [min(range(len(costs)), key=costs.__getitem__)] * spare

    def encodes(self, costs: list[int]) -> set[int]:
        """Items that this process runs, fillers included."""
        return {*self.owns(costs), *self.fillers(costs)}

    def _plan(self, costs: list[int]) -> list[list[int]]:
        """The items of each process, in ascending order."""
        loads, plan = [0] * self.size, [list[int]() for _ in range(self.size)]
        for i in sorted(range(len(costs)), key=lambda i: (-costs[i], i)):
            rank = min(range(self.size), key=lambda r: (loads[r], r))
            loads[rank] += costs[i]
            plan[rank].append(i)
        return [sorted(items) for items in plan]


def shard(model: Any, world: World) -> None:
    """Shard the frozen base one layer at a time (FSDP2); trainable weights stay replicated.

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
    """Join the process group of torchrun (RANK and WORLD_SIZE); a single process without torchrun.

    Args:
        how: value of `train.distributed`.

    Raises:
        torch.distributed.DistError: the processes, or their cards, cannot reach one another (launch.py says so).
    """
    if not distributed.is_torchelastic_launched():
        return World()
    if not distributed.is_initialized():
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    size = distributed.get_world_size()
    host = distributed.new_group(backend="gloo") if size > 1 else None
    distributed.all_reduce(torch.zeros(1, device="cuda" if torch.cuda.is_available() else "cpu"))  # the cards meet now
    return World(distributed.get_rank(), size, sharded=how == "fsdp2" and size > 1, host=host)
