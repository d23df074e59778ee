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
from components.model.packing import Row, pack, plan_rows
from components.model.prompt import Prompt
from components.training.world import World


@dataclass(frozen=True)
class PlacedRow:
    """A packed row and the places of its vectors: indices into the batch's vectors (queries first, then documents).

    row: None where another process encodes it. tokens, prefix_length: those of the row, in every process.
    """

    row: Row | None
    places: list[int]
    tokens: int
    prefix_length: int

    @classmethod
    def of(cls, row: Row, places: list[int]) -> "PlacedRow":
        """A row that this process encodes."""
        return cls(row, places, row.tokens, row.prefix_length)

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


def pack_rows(tokens: Tokens, row_tokens: int, encoder: EncoderParams, world: World) -> list[PlacedRow]:
    """The batch's rows of `row_tokens`: the queries of each few-shot set behind their prefix, then the documents.

    Symmetric tasks treat documents as queries without shots. Without prefix sharing (bidirectional attention or mean
    pooling) each query has its own copy of the prefix.
    """
    causal = encoder.attention == "causal"
    shared = causal and encoder.pooling == "last"
    runs = zip(tokens.prefixes, itertools.pairwise([*tokens.starts, len(tokens.queries)]), strict=True)
    groups = [(prefix, tokens.queries[start:stop], start) for prefix, (start, stop) in runs]  # last: place of the first
    groups.append((tokens.document_prefix, tokens.documents, len(tokens.queries)))
    planned: list[tuple[list[int], list[np.ndarray], list[int]]] = []
    for prefix, sequences, first in groups:
        if prefix and not shared:
            sequences, prefix = [np.concatenate([prefix, ids]) for ids in sequences], []
        for members in plan_rows([len(ids) for ids in sequences], len(prefix), row_tokens):
            planned.append((prefix, [sequences[i] for i in members], [first + i for i in members]))
    costs = [len(prefix) + sum(map(len, sequences)) for prefix, sequences, _ in planned]
    encoded = world.encodes(costs)
    return [
        PlacedRow(pack(prefix, sequences, causal) if i in encoded else None, places, costs[i], len(prefix))
        for i, (prefix, sequences, places) in enumerate(planned)
    ]


def fitting_prefix(prompt: Prompt, instruction: str, shots: Sequence[Any]) -> tuple[list[int], int]:
    """(prefix token ids with the first shots that fit `prompt.prefix_tokens`, how many these are)."""
    for number in range(len(shots), 0, -1):
        text = prompt.prefix_text(instruction, shots[:number])
        if len(prompt.tokenizer(text, add_special_tokens=False)["input_ids"]) < prompt.params.prefix_tokens:
            return prompt.prefix_ids(instruction, shots[:number]), number
    return prompt.prefix_ids(instruction), 0
