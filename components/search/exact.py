"""Exact top-k search over a corpus that streams by in blocks, most of it in whole numbers.

1. Scan: vectors are rounded to int8 (a scale per query, one per block of documents) and multiplied as integers, six to
   ten times as fast as float32 on a CPU with VNNI. Each query keeps a pool of its best by rounded score.
2. Rescore: the pool's true products in float32, one by one, from a second pass over the corpus.
3. Prove: the rounding error of a product is at most |q - q'| |d'| + |q| |d - d'| (Cauchy-Schwarz). A query is done when
   no document outside its pool can reach the k-th true score; the few that are not are searched again with a larger
   pool, and at last in float32.

So the answer is the exact one, and integers have no rounding that threads, shards or block borders could change. Memory
holds a few blocks, as many tiles of products per thread and the pools, whatever the size of the corpus. Without VNNI
step 1 is done in float32 and the answer is the same.
"""

from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np

from components.base.threads import single_threaded, workers
from components.search.products import true_products
from components.search.rounding import as_it_is, integers_are_fast, rounded
from components.search.scan import scan
from components.search.stream import Blocks
from components.search.top_k import RunningTopK, best_first, from_keys, keys_of_hits

QUERY_BLOCK = 256  # queries whose products with a block are one tile
_POOLS = (4, 16)  # pool of the first and of the second scan in whole numbers, as multiples of k


@dataclass(frozen=True)
class Hits:
    """The best documents of each query, best first. Where a query has fewer than k, document is -1 and score -inf."""

    documents: np.ndarray  # int64 [queries, k]
    scores: np.ndarray  # float32 [queries, k]

    def pairs(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """(query, document, rank from 1, score), one entry per hit."""
        queries, ranks = np.nonzero(self.documents >= 0)
        return queries, self.documents[queries, ranks], ranks + 1, self.scores[queries, ranks]


def exact_search(queries: np.ndarray, blocks: Blocks, k: int, threads: int = 1) -> Hits:
    """The k documents with the largest dot product, per query; ties go to the earlier document.

    Args:
        queries: float32 [queries, dim].
        blocks: the corpus, fewer than 2^31 documents; it is read twice or more often.
        k: hits per query; fewer come back when the corpus is smaller.
        threads: tiles multiplied at once.

    Raises:
        UserError: a document's vector is not finite.
    """
    documents = np.full((len(queries), k), -1, dtype=np.int64)
    scores = np.full((len(queries), k), -np.inf, dtype=np.float32)
    left = np.arange(len(queries))
    scans = [(True, factor * k) for factor in _POOLS if integers_are_fast()]
    with single_threaded(), workers(threads) as pool:
        for whole, size in [*scans, (False, 2 * k)]:
            if len(left):
                documents[left], scores[left], proven = _search(queries[left], blocks, k, size, whole, pool, threads)
                left = left[~proven]
    return Hits(documents, scores)


def _search(
    queries: np.ndarray, blocks: Blocks, k: int, size: int, whole: bool, pool: Executor, threads: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(documents [queries, k], scores [queries, k], bool [queries]: proven), from pools of `size` documents."""
    number = min(len(queries), max(threads, -(-len(queries) // QUERY_BLOCK)))
    parts = list(pool.map(lambda some: _Part(some, whole, k, size), np.array_split(queries, number)))
    norm, error = scan([part.rounded for part in parts], [part.best for part in parts], blocks, threads, pool)
    found = list(pool.map(lambda part: part.candidates(norm, error), parts))
    scores = true_products(queries, np.concatenate(found), blocks, pool)
    answers = pool.map(_Part.answer, parts, found, np.array_split(scores, number))
    documents, best, proven = (np.concatenate(of_all) for of_all in zip(*answers, strict=True))
    return documents, best, proven


class _Part:
    """Some queries on their way through a search."""

    def __init__(self, queries: np.ndarray, whole: bool, k: int, size: int) -> None:
        self.queries, self.k, self.size = queries, k, size
        self.rounded = rounded(queries, by_row=True) if whole else as_it_is(queries)
        self.best = RunningTopK(len(queries), size)

    def candidates(self, norm: float, error: float) -> np.ndarray:
        """int64 [queries, size]: what may be among the k best if no document's norm and error are larger, -1 else."""
        found, rough = from_keys(self.best.keys())
        scores = rough * self.rounded.scale[:, None]
        length = np.linalg.norm(self.queries.astype(np.float64), axis=1)
        of_a_sum = self.queries.shape[1] * np.finfo(np.float32).eps * length * (norm + error)  # in float32
        doubt = self.rounded.error * norm + length * error + of_a_sum
        self._outside = scores.min(axis=1) + doubt  # -inf where the pool has room: nothing is outside
        kth = np.partition(scores, self.size - self.k, axis=1)[:, self.size - self.k]
        return np.where(scores >= (kth - 2 * doubt)[:, None], found, -1)

    def answer(self, found: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(documents [queries, k], scores [queries, k], bool [queries]: proven) by the candidates' true scores."""
        documents, best = best_first(keys_of_hits(found, scores), self.k)
        return documents, best, np.isneginf(self._outside) | (self._outside < best[:, -1])
