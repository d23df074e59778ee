"""Prefix-shared packing: many sequences in one row, their common prefix once, no padding.

    row    [prefix][s1][s2]...[sN]        ids, restarted positions: s_i continues from the prefix
    s_i    attends to the whole prefix and, causally, to itself

With causal attention and last-token pooling this is exact: no token of the prefix sees a sequence. A padded batch of N
queries costs N * (prefix + longest); a row costs prefix + the sum of the lengths. Documents are a row without prefix.

The device, not the caller, selects one of three forms of attention:
- CPU: `Layout` gathers each sequence's queries and keys into small padded blocks for SDPA, so cost is linear in the
  number of sequences (a dense mask over the row is quadratic in the row).
- CUDA: FlexAttention skips the empty blocks of the same mask.
- `dense_mask` materializes the mask; the tests compare both with it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

PREFIX = 0  # segment number of prefix tokens; sequences are 1, 2, ...


@dataclass(frozen=True)
class Block:
    """Sequences of similar length, right-padded to the longest: index [n, L] into the row's tokens."""

    index: torch.Tensor  # int64 [n, L]; padding repeats the sequence's last token
    lengths: torch.Tensor  # int64 [n]


@dataclass(frozen=True)
class Row:
    """One packed row. `lengths` holds the sequences' lengths; tokens = prefix_length + sum(lengths)."""

    ids: torch.Tensor  # int64 [1, T]
    positions: torch.Tensor  # int64 [1, T]
    segments: torch.Tensor  # int64 [T]
    prefix_length: int
    lengths: tuple[int, ...]
    causal: bool = True

    @property
    def starts(self) -> list[int]:
        """Index of each sequence's first token."""
        starts, at = [], self.prefix_length
        for length in self.lengths:
            starts.append(at)
            at += length
        return starts

    @cached_property
    def last(self) -> torch.Tensor:
        """int64 [N]: index of each sequence's last token."""
        ends = np.cumsum(self.lengths, dtype=np.int64) + (self.prefix_length - 1)
        return torch.from_numpy(ends).to(self.ids.device)

    @property
    def tokens(self) -> int:
        return self.ids.shape[1]

    @cached_property
    def blocks(self) -> list[Block]:
        """The sequences in blocks; at most a fifth of a block's cells are padding."""
        order = sorted(range(len(self.lengths)), key=lambda i: self.lengths[i])
        blocks, group = [], list[int]()
        for i in [*order, None]:
            if group and (i is None or _waste([self.lengths[j] for j in [*group, i]]) > 0.2):
                blocks.append(self._block(group))
                group = []
            if i is not None:
                group.append(i)
        return blocks

    def _block(self, members: list[int]) -> Block:
        starts = self.starts
        lengths = torch.tensor([self.lengths[i] for i in members])
        offsets = torch.arange(int(lengths.max()))[None, :]  # [1, L]
        offsets = torch.minimum(offsets, (lengths - 1)[:, None])  # [n, L]
        index = torch.tensor([starts[i] for i in members])[:, None] + offsets
        return Block(index.to(self.ids.device), lengths.to(self.ids.device))

    @cached_property
    def unblock(self) -> torch.Tensor:
        """int64 [T - prefix]: each token's index in the concatenated, flattened blocks."""
        where = torch.empty(self.tokens, dtype=torch.int64, device=self.ids.device)
        offset = 0
        for block in self.blocks:
            n, width = block.index.shape
            real = torch.arange(width, device=self.ids.device)[None, :] < block.lengths[:, None]
            cells = torch.arange(n * width, device=self.ids.device).view(n, width) + offset
            where[block.index[real]] = cells[real]
            offset += n * width
        return where[self.prefix_length :]

    @cached_property
    def blocked_cells(self) -> int:
        """Attention scores computed over the blocks, without those of the prefix itself."""
        return sum(b.index.numel() * (self.prefix_length + b.index.shape[1]) for b in self.blocks)

    def dense_mask(self, at: torch.Tensor | None = None) -> torch.Tensor:
        """bool [1, 1, N, T]: True where a query token may attend to a key token; `at` [N]: the queries, default all.

        The reference for both attention forms.
        """
        tokens = torch.arange(self.tokens, device=self.segments.device)
        at = tokens if at is None else at
        same = self.segments[at, None] == self.segments[None, :]
        seen = same | (self.segments[None, :] == PREFIX)
        if self.causal:
            seen = seen & (at[:, None] >= tokens[None, :])
        return seen[None, None]

    def to(self, device: torch.device) -> "Row":
        """The same row on another device; from pinned memory the copies do not wait for the device."""
        return self._mapped(lambda tensor: tensor.to(device, non_blocking=True))

    def pin(self) -> "Row":
        """The same row in pinned memory of the host."""
        return self._mapped(lambda tensor: tensor.pin_memory())

    def _mapped(self, change: Callable[[torch.Tensor], torch.Tensor]) -> "Row":
        parts = change(self.ids), change(self.positions), change(self.segments)
        row = Row(*parts, self.prefix_length, self.lengths, self.causal)
        row.__dict__["last"] = change(self.last)  # made here, on the host: it needs no copy that blocks
        return row


Ids = Sequence[int] | np.ndarray


def pack(prefix: Sequence[int], sequences: Sequence[Ids], causal: bool = True) -> Row:
    """One row from a common prefix (may be empty) and non-empty sequences of token ids.

    Raises:
        ValueError: no sequence, an empty one, or a shared prefix without causal attention (it would not be exact).
    """
    if not sequences or not all(len(sequence) for sequence in sequences):
        raise ValueError("pack: needs at least one sequence, and none empty")
    if prefix and not causal:
        raise ValueError("pack: a shared prefix is exact only under causal attention")
    lengths = [len(prefix), *map(len, sequences)]
    ids = np.concatenate([prefix, *sequences]).astype(np.int64)
    starts = np.cumsum(lengths) - lengths  # of the prefix and of each sequence
    continued = starts - len(prefix)  # a sequence's positions go on from the prefix
    continued[0] = 0
    return Row(
        torch.from_numpy(ids)[None],
        torch.from_numpy(np.arange(len(ids)) - np.repeat(continued, lengths))[None],
        torch.from_numpy(np.repeat(np.arange(len(lengths)), lengths)),
        len(prefix),
        tuple(lengths[1:]),
        causal,
    )


def plan_rows(lengths: Sequence[int], prefix_length: int, token_budget: int) -> list[list[int]]:
    """Indices of sequences for each row: longest first, rows filled to `token_budget` tokens (prefix once per row).

    A sequence longer than the budget gets a row of its own; nothing is dropped.

    >>> plan_rows([3, 9, 4], prefix_length=2, token_budget=9)
    [[1], [2, 0]]
    """
    rows: list[list[int]] = []
    room = 0
    for i in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        if not rows or lengths[i] > room:
            rows.append([])
            room = token_budget - prefix_length
        rows[-1].append(i)
        room -= lengths[i]
    return rows


def _waste(lengths: list[int | None] | list[int]) -> float:
    real = [length for length in lengths if length is not None]
    return 1 - sum(real) / (max(real) * len(real))
