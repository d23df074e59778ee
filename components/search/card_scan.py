"""The scan of exact_search on GPUs: products and running top-k stay on the cards, each with its share of the blocks.

Products are TF32 in the first scan (tensor cores round each factor to 10 bits of mantissa) and float32 in the last.
Both only choose candidates: exact.py rescores them on the CPU and proves that none is missing, so the answer is the
CPU's, to the bit.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch

from components.base.errors import UserError
from components.model.device import send
from components.search.stream import Blocks
from components.search.top_k import EMPTY, LAST_DOCUMENT

TF32_ERROR = 2.0**-10  # of a factor, relative: truncated to 10 bits of mantissa


class CardTopK:
    """The k best documents of each query on one card, as the keys of top_k.py."""

    def __init__(self, queries: np.ndarray, k: int, card: torch.device) -> None:
        self.card, self.k = card, k
        self.queries = torch.from_numpy(queries).to(card)
        self.best = torch.full((len(queries), k), EMPTY, dtype=torch.int64, device=card)
        self.norm = torch.zeros((), device=card)  # the largest of any document
        self._added: torch.cuda.Event | None = None

    def add(self, block: np.ndarray, first: int) -> None:
        """Add documents first ... first + len(block) - 1; returns before the card has finished, but not two ahead."""
        documents = send(torch.from_numpy(block), self.card)
        self.norm = torch.maximum(self.norm, torch.linalg.vector_norm(documents, dim=1).max())  # keeps a NaN
        numbers = torch.arange(first, first + len(block), device=self.card)
        keys = torch.cat([self.best, _as_keys(self.queries @ documents.T, numbers)], dim=1)
        self.best = keys.topk(self.k, dim=1, sorted=False).values
        if self.card.type == "cuda":
            before, self._added = self._added, torch.cuda.Event()
            self._added.record(torch.cuda.current_stream(self.card))
            if before is not None:
                before.synchronize()  # two blocks in pinned memory, no more


def _as_keys(scores: torch.Tensor, documents: torch.Tensor) -> torch.Tensor:
    """`top_k.as_keys` in torch: int64 [queries, documents]."""
    bits = (scores + 0.0).view(torch.int32)
    ordered = bits ^ ((bits >> 31) & 0x7FFFFFFF)
    return (ordered.to(torch.int64) << 32) | (LAST_DOCUMENT - documents)


def scan_on_cards(
    queries: np.ndarray, k: int, blocks: Blocks, cards: Sequence[torch.device], tf32: bool
) -> tuple[np.ndarray, float]:
    """(keys of the k best documents of each query, int64 [queries, k], unordered; the largest norm of a document).

    Block i goes to card i modulo the number of cards, so reading the next block and the cards' work overlap.

    Args:
        queries: float32 [queries, dim].

    Raises:
        UserError: a document's vector is not finite.
    """
    pools = [CardTopK(queries, k, card) for card in cards]
    first = 0
    with tf32_products(tf32):
        for number, block in enumerate(blocks()):
            pools[number % len(pools)].add(block, first)
            first += len(block)
    norms = [float(pool.norm) for pool in pools]
    if not np.isfinite(norms).all():
        raise UserError("a dense teacher gave a vector that is not finite; check its weights and precision")
    merged = np.concatenate([pool.best.cpu().numpy() for pool in pools], axis=1)
    return np.partition(merged, merged.shape[1] - k, axis=1)[:, -k:], max(norms)


@contextmanager
def tf32_products(allowed: bool) -> Iterator[None]:
    """Whether float32 products on a card may use TF32; a CPU multiplies in float32 either way."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
