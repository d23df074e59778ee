"""A batch as packed rows: token ids, the plan of the rows, and the rows that this process encodes.

Each process tokenises its share of the texts, and all processes exchange the ids: the plan needs the length of every
text, and does not depend on the number of processes. A process packs only the rows that it encodes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from components.config import EncoderParams, TrainParams
from components.model.packing import Row, pack, plan_rows
from components.model.prompt import Prompt
from components.training.batches import Batch
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


@dataclass(frozen=True)
class Tokens:
    """Token ids of a batch's queries, documents and few-shot prefixes (one a set of shots), how many of the texts were
    cut to their length, and how many shots did not fit `prompt.prefix_tokens`."""

    queries: list[list[int]]
    documents: list[list[int]]
    prefixes: list[list[int]]
    cut: int
    shots_left_out: int


def tokenise(batch: Batch, prompt: Prompt, world: World) -> Tokens:
    """Token ids of the whole batch, each process making its share. Documents of symmetric tasks are queries."""
    texts = [*batch.query_texts, *batch.document_texts]
    number = len(batch.query_texts)
    mine = range(world.rank, len(texts), world.size)
    as_queries = [i for i in mine if i < number or batch.task.symmetric]
    as_documents = [i for i in mine if i >= number and not batch.task.symmetric]
    before = prompt.cut
    made = dict(zip(as_queries, prompt.query_ids([texts[i] for i in as_queries]), strict=True))
    made |= zip(as_documents, prompt.document_ids([texts[i] for i in as_documents]), strict=True)
    shares = world.exchange([*(made[i] for i in mine), [prompt.cut - before]])
    ids: list[list[int]] = [[]] * len(texts)
    for rank, share in enumerate(shares):
        ids[rank :: world.size] = share[:-1]
    fitting = [fitting_prefix(prompt, batch.instruction, shots) for shots in batch.shots]
    left_out = sum(len(shots) - shown for shots, (_, shown) in zip(batch.shots, fitting, strict=True))
    prefixes = [prefix for prefix, _ in fitting]
    return Tokens(ids[:number], ids[number:], prefixes, sum(share[-1][0] for share in shares), left_out)


def pack_rows(
    batch: Batch, tokens: Tokens, prompt: Prompt, train: TrainParams, encoder: EncoderParams, world: World
) -> list[PlacedRow]:
    """The batch's rows: the queries of each few-shot set behind their prefix, then the documents.

    Symmetric tasks treat documents as queries without shots. Without prefix sharing (bidirectional attention or mean
    pooling) each query has its own copy of the prefix.
    """
    causal = encoder.attention == "causal"
    shared = causal and encoder.pooling == "last"
    share = train.shots.share
    groups = []  # (prefix, sequences, place of the first)
    for chunk, prefix in enumerate(tokens.prefixes):
        groups.append((prefix, tokens.queries[chunk * share : (chunk + 1) * share], chunk * share))
    prefix = prompt.prefix_ids(batch.instruction) if batch.task.symmetric else []
    groups.append((prefix, tokens.documents, len(batch.query_texts)))
    planned: list[tuple[list[int], list[list[int]], list[int]]] = []
    for prefix, sequences, first in groups:
        own = [] if shared else prefix
        sequences, prefix = [own + ids for ids in sequences], prefix if shared else []
        for members in plan_rows([len(ids) for ids in sequences], len(prefix), train.row_tokens):
            planned.append((prefix, [sequences[i] for i in members], [first + i for i in members]))
    costs = [len(prefix) + sum(map(len, sequences)) for prefix, sequences, _ in planned]
    encoded = world.encodes(costs)
    return [
        PlacedRow(pack(prefix, sequences, causal) if i in encoded else None, places, costs[i], len(prefix))
        for i, (prefix, sequences, places) in enumerate(planned)
    ]


def rows_of(batch: Batch, prompt: Prompt, train: TrainParams, encoder: EncoderParams) -> list[PlacedRow]:
    """All rows of a batch, in one process."""
    world = World()
    return pack_rows(batch, tokenise(batch, prompt, world), prompt, train, encoder, world)


def fitting_prefix(prompt: Prompt, instruction: str, shots: Sequence[Any]) -> tuple[list[int], int]:
    """(prefix token ids with the first shots that fit `prompt.prefix_tokens`, how many these are)."""
    for number in range(len(shots), 0, -1):
        text = prompt.prefix_text(instruction, shots[:number])
        if len(prompt.tokenizer(text, add_special_tokens=False)["input_ids"]) < prompt.params.prefix_tokens:
            return prompt.prefix_ids(instruction, shots[:number]), number
    return prompt.prefix_ids(instruction), 0
