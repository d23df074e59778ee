"""Batches of texts. On a CPU they have fixed shapes, so that a text's result is bitwise independent of its batch.

Sharding, caching, the executor and a rerun after a kill therefore cannot change a result. Two things would: another
batch shape, and a row count that is not a multiple of ROW_STEP. A matrix-vector product, such as the one-logit head of
a reranker, is computed four rows at a time and rounds the remaining rows differently, so a score would depend on its
row. Padding is below LENGTH_STEP tokens per text.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import TypeVar

import numpy as np
import torch

from components.base.errors import UserError

log = logging.getLogger(__name__)
Result = TypeVar("Result")
LENGTH_STEP = 8
CPU_TOKENS = 512  # per forward pass of one thread: fits its cache; 2,048 are a third slower
ROW_STEP = 4


def batch_rows(padded: int, budget: int) -> int:
    """Rows of every batch of this padded length: a multiple of ROW_STEP within the token budget, or 1.

    >>> batch_rows(96, budget=2048), batch_rows(512, budget=1024)
    (20, 1)
    """
    rows = budget // padded
    return rows - rows % ROW_STEP or 1


def token_batches(lengths: Sequence[int], budget: int, fixed: bool = True) -> Iterator[tuple[list[int], int]]:
    """(positions, padded length) of each batch: at most `budget` tokens with the padding, at least one text.

    fixed: the texts of a batch have one padded length, and `padded_batch` fills it up to `batch_rows` with empty rows.
    Otherwise texts of neighbouring lengths share a batch, which is for devices whose rounding depends on it anyway.

    >>> list(token_batches([7, 30, 8, 3], budget=32))
    [([0, 2, 3], 8), ([1], 32)]
    >>> list(token_batches([7, 20, 9, 3], budget=64, fixed=False))
    [([1, 2], 24), ([0, 3], 8)]
    """
    padded = [-(-length // LENGTH_STEP) * LENGTH_STEP for length in lengths]
    if not fixed:
        yield from _neighbours(lengths, padded, budget)
        return
    buckets: dict[int, list[int]] = {}
    for i, length in enumerate(padded):
        buckets.setdefault(length, []).append(i)
    for length in sorted(buckets):
        rows = batch_rows(length, budget)
        members = buckets[length]
        for start in range(0, len(members), rows):
            yield members[start : start + rows], length


def _neighbours(lengths: Sequence[int], padded: Sequence[int], budget: int) -> Iterator[tuple[list[int], int]]:
    """The longest first."""
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    start = 0
    while start < len(order):
        length = padded[order[start]]
        rows = max(1, budget // length)
        yield order[start : start + rows], length
        start += rows


class TokenBatches:
    """Runs batches of texts. Where a GPU's memory is too small for one, the token budget is halved for the rest of the
    process, and the texts that are left are computed in smaller batches.

    Attributes:
        budget: tokens of one forward pass, with the padding.
        fixed: see `token_batches`.
    """

    def __init__(self, budget: int, fixed: bool) -> None:
        self.budget, self.fixed = budget, fixed

    def run(
        self, lengths: Sequence[int], compute: Callable[[list[int], int], Result]
    ) -> Iterator[tuple[list[int], Result]]:
        """(positions, what `compute` returns for them and their padded length) of each batch.

        Raises:
            UserError: one text alone does not fit.
        """
        waiting = deque(self._planned(lengths))
        while waiting:
            members, length = waiting.popleft()
            try:
                result = compute(members, length)
            except torch.OutOfMemoryError:
                result = None  # what the pass has allocated lives until this clause ends
            if result is not None:
                yield members, result
                continue
            self._halve(members, length)
            left = [*members, *(position for batch, _ in waiting for position in batch)]
            again = self._planned([lengths[position] for position in left])
            waiting = deque(([left[place] for place in batch], padded) for batch, padded in again)

    def _planned(self, lengths: Sequence[int]) -> Iterator[tuple[list[int], int]]:
        return token_batches(lengths, self.budget, self.fixed)

    def _halve(self, members: list[int], length: int) -> None:
        if len(members) == 1:
            raise UserError(
                f"a text of {length} tokens does not fit into the GPU's memory beside the model; lower max_tokens of "
                "this model (score.max_tokens, retrieve.dense.<model>.max_tokens), or take a larger GPU"
            )
        self._lower(len(members) * length // 2, f"{len(members)} texts of {length} tokens")

    def _lower(self, budget: int, refused: str) -> None:
        self.budget = min(self.budget, budget)
        log.warning(
            "out of GPU memory with %s in one pass; going on with %s tokens a pass", refused, f"{self.budget:,}"
        )
        torch.cuda.empty_cache()


def padded_batch(sequences: Sequence[Sequence[int]], length: int, rows: int, fill: int = 0) -> torch.Tensor:
    """int64 [rows, length]: the sequences padded on the right with `fill`, then rows of `fill` only.

    By numpy: a tensor from each list takes 14 times as long, 27 ms for 384 texts of 170 tokens, and a GPU waits for it.

    >>> padded_batch([[5, 6]], length=3, rows=2, fill=9).tolist()
    [[5, 6, 9], [9, 9, 9]]
    """
    there = _places(sequences, length)
    padded = np.full((rows, length), fill, dtype=np.int64)
    padded[: len(sequences)][there] = np.fromiter(chain.from_iterable(sequences), np.int64, int(there.sum()))
    return torch.from_numpy(padded)


def attention_mask(sequences: Sequence[Sequence[int]], length: int, rows: int) -> torch.Tensor:
    """int64 [rows, length]: 1 for the tokens, and for one token of each empty row."""
    mask = np.zeros((rows, length), dtype=np.int64)
    mask[: len(sequences)] = _places(sequences, length)
    mask[len(sequences) :, 0] = 1
    return torch.from_numpy(mask)


def _places(sequences: Sequence[Sequence[int]], length: int) -> np.ndarray:
    """bool [sequences, length]: where a token is."""
    lengths = np.fromiter(map(len, sequences), np.int64, len(sequences))
    places: np.ndarray = np.arange(length) < lengths[:, None]
    return places
