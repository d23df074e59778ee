"""Exact top-k inner-product search over a streamed corpus: int8 scan, float32 rescoring, error-bound proof.

1. Scan: vectors are rounded to int8 (a scale per query, one per block of documents) and multiplied as integers, six to
   ten times as fast as float32 on a CPU with VNNI. Each query keeps a pool of its best documents by rounded score.
2. Rescore: float32 products of each query with its pool, from a second pass over the corpus.
3. Prove: the rounding error of a product is at most |q - q'| |d'| + |q| |d - d'| (Cauchy-Schwarz). A query is done when
   no document outside its pool can reach the k-th true score; the others are searched again with a larger pool, and
   at last in float32.

On GPUs the scan multiplies in TF32 instead (card_scan.py), and steps 2 and 3 are the same.

The result is the exact one, and integer products do not depend on threads, shards or block borders. Memory holds a few
blocks, as many tiles of products per thread and the pools, for any size of corpus. Without VNNI the scan multiplies in
float32 and the result is the same.
"""

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch

from components.base.threads import single_threaded, workers
from components.search.card_scan import TF32_ERROR, scan_on_cards
from components.search.products import true_products
from components.search.rounding import Rounded, integers_are_fast, keep_float32, round_to_int8
from components.search.scan import scan
from components.search.stream import Blocks
from components.search.top_k import RunningTopK, best_first, from_keys, keys_of_hits

QUERY_BLOCK = 256  # queries whose products with a block are one tile
_POOLS = {"int8": (4, 16), "tf32": (2, 8)}  # pool sizes of the first and the second scan, in multiples of k

Precision = Literal["int8", "tf32", "float32"]


@dataclass(frozen=True)
class Hits:
    """The best documents of each query, best first. Where a query has fewer than k, document is -1 and score -inf."""

    documents: np.ndarray  # int64 [queries, k]
    scores: np.ndarray  # float32 [queries, k]

    def pairs(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """(query, document, rank from 1, score), one entry per hit."""
        queries, ranks = np.nonzero(self.documents >= 0)
        return queries, self.documents[queries, ranks], ranks + 1, self.scores[queries, ranks]


def exact_search(
    queries: np.ndarray, blocks: Blocks, k: int, threads: int = 1, cards: Sequence[torch.device] = ()
) -> Hits:
    """The k documents with the largest dot product, per query; ties go to the earlier document.

    Args:
        queries: float32 [queries, dim].
        blocks: the corpus, fewer than 2^31 documents; it is read twice or more often.
        k: hits per query; fewer come back when the corpus is smaller.
        threads: tiles multiplied at once.
        cards: devices that scan, each its share of the blocks; none: the CPU.

    Raises:
        UserError: a document's vector is not finite.
    """
    documents = np.full((len(queries), k), -1, dtype=np.int64)
    scores = np.full((len(queries), k), -np.inf, dtype=np.float32)
    unproven = np.arange(len(queries))
    with single_threaded(), workers(threads) as pool:
        # Every scan takes the queries that the one before could not prove; the float32 scan is the last.
        for precision, size in _scans(k, cards):
            if len(unproven):
                search = _Search(k, size, precision, threads, cards, pool)
                documents[unproven], scores[unproven], proven = search(queries[unproven], blocks)
                unproven = unproven[~proven]
    return Hits(documents, scores)


def _scans(k: int, cards: Sequence[torch.device]) -> list[tuple[Precision, int]]:
    """(precision, pool size) of each scan."""
    first: Precision = "tf32" if cards else "int8"
    factors = _POOLS[first] if cards or integers_are_fast() else ()
    return [*((first, factor * k) for factor in factors), ("float32", 2 * k)]


@dataclass(frozen=True)
class _Search:
    """One scan, its rescoring and its proof, from pools of `size` documents."""

    k: int
    size: int
    precision: Precision
    threads: int
    cards: Sequence[torch.device]
    pool: Executor

    def __call__(self, queries: np.ndarray, blocks: Blocks) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(documents [queries, k], scores [queries, k], bool [queries]: proven)."""
        # Chunks of queries of at most QUERY_BLOCK, and at least one a thread.
        number = min(len(queries), max(self.threads, -(-len(queries) // QUERY_BLOCK)))
        chunks = list(self.pool.map(self._chunk, np.array_split(queries, number)))
        # Scan: one pass over the corpus fills every chunk's pool.
        keys, norm, error = (self._scan_on_cards if self.cards else self._scan)(chunks, blocks)
        # Rescore: float32 products of the candidates, from a second pass.
        candidates = list(self.pool.map(lambda chunk, own: chunk.select_candidates(own, norm, error), chunks, keys))
        scores = true_products(queries, np.concatenate(candidates), blocks, self.pool)
        # Prove: compare the k-th true score with the bound on all other documents.
        results = self.pool.map(_Chunk.rank_candidates, chunks, candidates, np.array_split(scores, number))
        documents, best, proven = (np.concatenate(parts) for parts in zip(*results, strict=True))
        return documents, best, proven

    def _chunk(self, queries: np.ndarray) -> "_Chunk":
        rounded = round_to_int8(queries, by_row=True) if self.precision == "int8" else keep_float32(queries)
        if self.precision == "tf32":
            rounded = replace(rounded, error=rounded.norm * TF32_ERROR)
        return _Chunk(queries, rounded, self.k, self.size)

    def _scan(self, chunks: list["_Chunk"], blocks: Blocks) -> tuple[list[np.ndarray], float, float]:
        """(keys of each chunk's pool, largest norm and largest rounding error of a document)."""
        pools = [RunningTopK(len(chunk.queries), self.size) for chunk in chunks]
        norm, error = scan([chunk.rounded for chunk in chunks], pools, blocks, self.threads, self.pool)
        return list(self.pool.map(RunningTopK.keys, pools)), norm, error

    def _scan_on_cards(self, chunks: list["_Chunk"], blocks: Blocks) -> tuple[list[np.ndarray], float, float]:
        """The same for all chunks at once: GPUs need large products."""
        queries = np.concatenate([chunk.queries for chunk in chunks])
        tf32 = self.precision == "tf32"
        keys, norm = scan_on_cards(queries, self.size, blocks, self.cards, tf32)
        bounds = np.cumsum([len(chunk.queries) for chunk in chunks])[:-1]
        return np.split(keys, bounds), norm, norm * TF32_ERROR if tf32 else 0.0


class _Chunk:
    """One chunk of queries and its search state."""

    def __init__(self, queries: np.ndarray, rounded: Rounded, k: int, size: int) -> None:
        self.queries, self.rounded, self.k, self.size = queries, rounded, k, size

    def select_candidates(self, keys: np.ndarray, norm: float, error: float) -> np.ndarray:
        """int64 [queries, size]: the pool's documents that can be among the k best, -1 for the others.

        Args:
            keys: int64 [queries, size], the pool, unordered.
            norm, error: the largest norm and the largest rounding error of any document.
        """
        documents, unscaled = from_keys(keys)
        approx_scores = unscaled * self.rounded.scale[:, None]
        # Error bound of a query's products: rounding of the query, rounding of the document, float32 summation.
        length = np.linalg.norm(self.queries.astype(np.float64), axis=1)
        summation = self.queries.shape[1] * np.finfo(np.float32).eps * length * (norm + error)
        error_bound = self.rounded.error * norm + length * error + summation
        # Bound on the true score of a document outside the pool; -inf where the pool is not full: it holds all.
        self._outside = approx_scores.min(axis=1) + error_bound
        # A document is out when k others beat it even if both errors are as large as they can be.
        kth = np.partition(approx_scores, self.size - self.k, axis=1)[:, self.size - self.k]
        return np.where(approx_scores >= (kth - 2 * error_bound)[:, None], documents, -1)

    def rank_candidates(self, candidates: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(documents [queries, k], scores [queries, k], bool [queries]: proven) from the candidates' true scores."""
        documents, best = best_first(keys_of_hits(candidates, scores), self.k)
        return documents, best, np.isneginf(self._outside) | (self._outside < best[:, -1])
