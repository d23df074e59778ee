"""One training step: rows -> vectors -> loss -> gradients of the adapter.

Direct: the graph of every row is kept until the loss is computed. GradCache (Gao 2021, arXiv 2101.06983): a first pass
without graphs gives the vectors, the loss gives their gradients, a second pass runs each row again and applies them, so
memory is that of one row for any batch size. Each row's random numbers are seeded by (seed, step, row), so the second
pass replays the first, and neither depends on the number of processes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from components.config import EncoderParams, TrainParams
from components.model.backbone import pooled
from components.model.packing import Row, pack, plan_rows
from components.model.prompt import Prompt
from components.training.batches import Batch
from components.training.world import World


@dataclass(frozen=True)
class PlacedRow:
    """A packed row and the places of its vectors: indices into the batch's vectors (queries first, then documents)."""

    row: Row
    places: list[int]


def rows_of(batch: Batch, prompt: Prompt, train: TrainParams, encoder: EncoderParams) -> list[PlacedRow]:
    """Pack a batch into rows: the queries of each few-shot set behind their prefix, then the documents.

    Symmetric tasks treat documents as queries without shots. Without prefix sharing (bidirectional attention or mean
    pooling) each query has its own copy of the prefix.
    """
    causal = encoder.attention == "causal"
    prefix_shared = causal and encoder.pooling == "last"
    share = train.shots.share
    placed: list[PlacedRow] = []

    def add(prefix: list[int], sequences: list[list[int]], first: int) -> None:
        if not prefix_shared:
            sequences, prefix = [prefix + ids for ids in sequences], []
        for members in plan_rows([len(ids) for ids in sequences], len(prefix), train.row_tokens):
            row = pack(prefix, [sequences[i] for i in members], causal)
            placed.append(PlacedRow(row, [first + i for i in members]))

    for chunk, shots in enumerate(batch.shots):
        texts = batch.query_texts[chunk * share : (chunk + 1) * share]
        prefix = fitting_prefix(prompt, batch.task.instruction, shots)
        add(prefix, prompt.query_ids(texts), chunk * share)
    if batch.task.symmetric:
        prefix, sequences = prompt.prefix_ids(batch.task.instruction), prompt.query_ids(batch.document_texts)
    else:
        prefix, sequences = [], prompt.document_ids(batch.document_texts)
    add(prefix, sequences, len(batch.query_texts))
    return placed


def fitting_prefix(prompt: Prompt, instruction: str, shots: Sequence[Any]) -> list[int]:
    """Prefix token ids with the first shots that fit `prompt.prefix_tokens`."""
    for number in range(len(shots), 0, -1):
        text = prompt.prefix_text(instruction, shots[:number])
        if len(prompt.tokenizer(text, add_special_tokens=False)["input_ids"]) < prompt.params.prefix_tokens:
            return prompt.prefix_ids(instruction, shots[:number])
    return prompt.prefix_ids(instruction)


Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class Step:
    """Runs rows through the model and leaves the loss's gradients in its trainable parameters."""

    def __init__(self, model: Any, pooling: str, seed: int, gradcache: bool, world: World) -> None:
        self.model, self.pooling, self.seed, self.gradcache, self.world = model, pooling, seed, gradcache, world
        self.device = next(model.parameters()).device
        self.trainable = [p for p in model.parameters() if p.requires_grad]
        self.half = any(p.dtype == torch.bfloat16 for p in model.parameters())  # then autocast the adapter to bf16

    def run(self, step: int, rows: list[PlacedRow], queries: int, loss: Loss) -> float:
        """Gradients of `loss(query vectors, document vectors)`, summed over all processes.

        Args:
            rows: the whole batch's rows, the same in every process.
            queries: how many of the batch's vectors are queries (they come first).

        Returns:
            the loss; NaN or inf is returned without computing gradients.
        """
        costs = [placed.row.tokens for placed in rows]
        mine = [(i, rows[i]) for i in self.world.owns(costs)]
        spare = [min(enumerate(rows), key=lambda item: item[1].row.tokens)] * self.world.spare(costs)
        total = sum(len(placed.places) for placed in rows)
        with torch.set_grad_enabled(not self.gradcache):
            parts = [self._encode(step, i, placed) for i, placed in [*mine, *spare]]
        vectors = self._complete(parts[: len(mine)], mine, total)
        value = loss(vectors[:queries], vectors[queries:])
        if not torch.isfinite(value):
            return float(value.detach())
        value.backward()
        assert vectors.grad is not None
        gradients = [vectors.grad[placed.places] for _, placed in mine]
        gradients += [torch.zeros(len(placed.places), vectors.shape[1], device=self.device) for _, placed in spare]
        for part, (i, placed), gradient in zip(parts, [*mine, *spare], gradients, strict=True):
            (self._encode(step, i, placed) if self.gradcache else part).backward(gradient)
        for parameter in self.trainable:  # a process without rows still joins the all-reduce
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        self.world.sum_([p.grad for p in self.trainable if p.grad is not None])
        return float(value.detach())

    def _encode(self, step: int, i: int, placed: PlacedRow) -> torch.Tensor:
        torch.manual_seed(hash((self.seed, step, i)) & 0x7FFFFFFF)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            return pooled(self.model, placed.row.to(self.device), self.pooling)

    def _complete(self, parts: list[torch.Tensor], mine: list[tuple[int, PlacedRow]], total: int) -> torch.Tensor:
        """All vectors [total, dim] as a leaf tensor that collects its gradient."""
        dimension = int(self.model.config.hidden_size)
        vectors = torch.zeros(total, dimension, device=self.device)
        for part, (_, placed) in zip(parts, mine, strict=True):
            vectors[placed.places] = part.detach()
        self.world.sum_([vectors])
        return vectors.requires_grad_()
