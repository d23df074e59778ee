"""A batch as packed rows: the plan of the rows, and the rows that this process encodes.

The plan needs the length of every text, so each process reads the ids of the whole batch (token_ids.py); it does not
depend on the number of processes. A process packs only the rows that it encodes.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from components.config import EncoderParams
from components.model.packing import Group, Row, join_rows, pack, plan_joins, plan_rows
from components.model.prompt import Prompt
from components.training.world import World


@dataclass(frozen=True)
class PlacedRow:
    """A packed row and the places of its vectors: indices into the batch's vectors (queries first, then documents).

    row: None where another process encodes it. tokens: those of the row, in every process. repeated: tokens that a
    padded trainer computes besides, its prefixes again for every sequence but the first.
    """

    row: Row | None
    places: list[int]
    tokens: int
    repeated: int

    @classmethod
    def of(cls, row: Row, places: list[int]) -> "PlacedRow":
        """A row that this process encodes."""
        return cls(row, places, row.tokens, sum(map(_repeated, row.groups)))

    def to(self, device: torch.device) -> "PlacedRow":
        """On the device that encodes it."""
        return replace(self, row=self.row and self.row.to(device))

    def pin(self) -> "PlacedRow":
        """In pinned memory, from where a copy to a card does not block."""
        return replace(self, row=self.row and self.row.pin())


@dataclass(frozen=True)
class Tokens:
    """Token ids of a batch's queries, documents and few-shot prefixes (one a run of queries), how many of the texts
    were cut to their length, and how many shots did not fit `prompt.prefix_tokens`.

    starts: place of the first query of each run. document_prefix: of the documents of a symmetric task, else empty.
    """

    queries: list[np.ndarray]  # int32
    documents: list[np.ndarray]
    prefixes: list[list[int]]
    starts: list[int]
    document_prefix: list[int]
    cut: int
    shots_left_out: int


@dataclass(frozen=True)
class _Planned:
    """One prefix, the sequences behind it, and their places."""

    prefix: list[int]
    sequences: list[np.ndarray]
    places: list[int]

    @property
    def group(self) -> Group:
        return Group(len(self.prefix), tuple(map(len, self.sequences)))


def pack_rows(
    tokens: Tokens, row_tokens: int, encoder: EncoderParams, world: World, join: bool = False
) -> list[PlacedRow]:
    """The batch's rows of `row_tokens`: the queries of each few-shot set behind their prefix, then the documents.

    Symmetric tasks treat documents as queries without shots. Without prefix sharing (bidirectional attention or mean
    pooling) each query has its own copy of the prefix.

    Args:
        join: several prefixes share a row, so that rows of few-shot queries are full. Vectors and gradients are the
            same but for rounding; a card multiplies short rows slowly, a CPU does not.
    """
    planned = _plan(tokens, row_tokens, encoder)
    costs = [one.group.tokens for one in planned]
    joins = plan_joins(costs, row_tokens) if join and _shares(encoder) else [[i] for i in range(len(planned))]
    rows = [[planned[i] for i in members] for members in joins]
    costs = [sum(one.group.tokens for one in row) for row in rows]
    encoded = world.encodes(costs)
    return [
        PlacedRow(
            _pack(row, encoder.attention == "causal") if i in encoded else None,
            [place for one in row for place in one.places],
            costs[i],
            sum(_repeated(one.group) for one in row),
        )
        for i, row in enumerate(rows)
    ]


def _plan(tokens: Tokens, row_tokens: int, encoder: EncoderParams) -> list[_Planned]:
    """The batch in rows of one prefix."""
    runs = zip(tokens.prefixes, itertools.pairwise([*tokens.starts, len(tokens.queries)]), strict=True)
    # (prefix, sequences, place of the first)
    sets = [(prefix, tokens.queries[start:stop], start) for prefix, (start, stop) in runs]
    sets.append((tokens.document_prefix, tokens.documents, len(tokens.queries)))
    planned = []
    for prefix, sequences, first in sets:
        if prefix and not _shares(encoder):
            sequences, prefix = [np.concatenate([prefix, ids]) for ids in sequences], []
        for members in plan_rows([len(ids) for ids in sequences], len(prefix), row_tokens):
            planned.append(_Planned(prefix, [sequences[i] for i in members], [first + i for i in members]))
    return planned


def _shares(encoder: EncoderParams) -> bool:
    """Whether sequences may share a prefix, so that the result is exact."""
    return encoder.attention == "causal" and encoder.pooling == "last"


def _pack(planned: list[_Planned], causal: bool) -> Row:
    rows = [pack(one.prefix, one.sequences, causal) for one in planned]
    return rows[0] if len(rows) == 1 else join_rows(rows)


def _repeated(group: Group) -> int:
    return group.prefix_length * (len(group.lengths) - 1)


def fitting_prefix(prompt: Prompt, instruction: str, shots: Sequence[Any]) -> tuple[list[int], int]:
    """(prefix token ids with the first shots that fit `prompt.prefix_tokens`, how many these are)."""
    for number in range(len(shots), 0, -1):
        text = prompt.prefix_text(instruction, shots[:number])
        if len(prompt.tokenizer(text, add_special_tokens=False)["input_ids"]) < prompt.params.prefix_tokens:
            return prompt.prefix_ids(instruction, shots[:number]), number
    return prompt.prefix_ids(instruction), 0
