"""Prefix-shared packing: many sequences in one row, their common prefix once, no padding.

    row    [prefix][s1][s2]...[sN]        ids, restarted positions: s_i continues from the prefix
    s_i    attends to the whole prefix and, causally, to itself

`join_rows` puts several such groups, each with its own prefix, into one row: no group sees another.

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
from typing import NamedTuple

import numpy as np
import torch

IN_GROUP = (1 << 32) - 1  # a segment's lower bits: 0 of the prefix, 1, 2, ... of the sequences; above them: its group


class Group(NamedTuple):
    """A prefix, which may be empty, and the sequences behind it: their numbers of tokens."""

    prefix_length: int
    lengths: tuple[int, ...]

    @property
    def tokens(self) -> int:
        return self.prefix_length + sum(self.lengths)

    @property
    def longest(self) -> int:
        """Tokens of the longest sequence with its prefix."""
        return self.prefix_length + max(self.lengths)


@dataclass(frozen=True)
class Block:
    """Sequences of similar length, right-padded to the longest: index [n, L] into the row's tokens."""

    index: torch.Tensor  # int64 [n, L]; padding repeats the sequence's last token
    lengths: torch.Tensor  # int64 [n]


@dataclass(frozen=True)
class Row:
    """One packed row: one group, or several that do not see one another."""

    ids: torch.Tensor  # int64 [1, T]
    positions: torch.Tensor  # int64 [1, T]
    segments: torch.Tensor  # int64 [T], see IN_GROUP
    groups: tuple[Group, ...]
    causal: bool = True

    @property
    def prefix_length(self) -> int:
        """Of a row of one group."""
        (group,) = self.groups
        return group.prefix_length

    @cached_property
    def lengths(self) -> tuple[int, ...]:
        """The sequences' numbers of tokens."""
        return tuple(length for group in self.groups for length in group.lengths)

    @property
    def starts(self) -> list[int]:
        """Index of each sequence's first token."""
        starts, at = [], 0
        for group in self.groups:
            at += group.prefix_length
            for length in group.lengths:
                starts.append(at)
                at += length
        return starts

    @property
    def parts(self) -> list["Row"]:
        """The groups as rows of their own, in order."""
        return [self] if len(self.groups) == 1 else self._split

    @cached_property
    def _split(self) -> list["Row"]:
        parts, at = [], 0
        for group in self.groups:
            own = slice(at, at + group.tokens)
            segments = self.segments[own] & IN_GROUP
            parts.append(Row(self.ids[:, own], self.positions[:, own], segments, (group,), self.causal))
            at += group.tokens
        return parts

    @cached_property
    def last(self) -> torch.Tensor:
        """int64 [N]: index of each sequence's last token."""
        ends = np.add(self.starts, self.lengths, dtype=np.int64) - 1
        return torch.from_numpy(ends).to(self.ids.device)

    @property
    def tokens(self) -> int:
        return self.ids.shape[1]

    @cached_property
    def blocks(self) -> list[Block]:
        """The sequences of a row of one group in blocks; at most a fifth of a block's cells are padding."""
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
        return sum(
            block.index.numel() * (part.prefix_length + block.index.shape[1])
            for part in self.parts
            for block in part.blocks
        )

    def dense_mask(self, at: torch.Tensor | None = None) -> torch.Tensor:
        """bool [1, 1, N, T]: True where a query token may attend to a key token; `at` [N]: the queries, default all.

        The reference for both attention forms.
        """
        tokens = torch.arange(self.tokens, device=self.segments.device)
        at = tokens if at is None else at
        own = self.segments[at, None]
        seen = (own == self.segments[None, :]) | ((own & ~IN_GROUP) == self.segments[None, :])
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
        row = Row(*parts, self.groups, self.causal)
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
    continued = starts - len(prefix)  # a sequence's positions continue from the prefix
    continued[0] = 0
    return Row(
        torch.from_numpy(ids)[None],
        torch.from_numpy(np.arange(len(ids)) - np.repeat(continued, lengths))[None],
        torch.from_numpy(np.repeat(np.arange(len(lengths)), lengths)),
        (Group(len(prefix), tuple(lengths[1:])),),
        causal,
    )


def join_rows(rows: Sequence[Row]) -> Row:
    """One row of the groups of all `rows`, in their order.

    Raises:
        ValueError: attention is not causal in all of them.
    """
    if not all(row.causal for row in rows):
        raise ValueError("join_rows: only rows with causal attention")
    groups = tuple(group for row in rows for group in row.groups)
    parts = [part for row in rows for part in row.parts]
    return Row(
        torch.cat([part.ids for part in parts], dim=1),
        torch.cat([part.positions for part in parts], dim=1),
        torch.cat([part.segments + number * (IN_GROUP + 1) for number, part in enumerate(parts)]),
        groups,
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


def plan_joins(tokens: Sequence[int], token_budget: int) -> list[list[int]]:
    """Indices of rows to join, so that each new row has at most `token_budget` tokens: the longest first, each to the
    fullest row with room for it. A row over the budget stays alone.

    >>> plan_joins([6, 9, 3, 1], token_budget=10)
    [[1, 3], [0, 2]]
    """
    joins: list[list[int]] = []
    rooms: list[int] = []
    for i in sorted(range(len(tokens)), key=lambda i: (-tokens[i], i)):
        fitting = [place for place, room in enumerate(rooms) if room >= tokens[i]]
        if not fitting:
            joins.append([])
            rooms.append(token_budget)
        place = min(fitting, key=lambda place: rooms[place], default=len(joins) - 1)
        joins[place].append(i)
        rooms[place] -= tokens[i]
    return joins
