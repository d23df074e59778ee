"""Exact top-k search over a corpus that streams by in blocks, most of it in whole numbers.

1. Scan: vectors are rounded to int8 (a scale per query, one per block of documents) and multiplied as integers, six to
   ten times as fast as float32 on a CPU with VNNI. Each query keeps a pool of its best by rounded score.
2. Rescore: the pool's true products in float32, a row at a time, from a second pass over the corpus.
3. Prove: the rounding error of a product is at most |q - q'| |d'| + |q| |d - d'| (Cauchy-Schwarz). A query is done when
   no document outside its pool can reach the k-th true score; the few that are not are searched again with a larger
   pool, and at last in float32.

So the answer is the exact one, and integers have no rounding that threads, shards or block borders could change. Memory
holds a few blocks, a tile of products per thread and the pools, whatever the size of the corpus. Without VNNI step 1 is
done in float32 and the answer is the same.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TypeVar

import numpy as np
import torch

from components.errors import UserError
from components.teacher.engine import single_threaded, workers
from components.teacher.top_k import RunningTopK, as_keys, best_first, from_keys

DOCUMENT_BLOCK = 4096
QUERY_BLOCK = 128
_POOLS = (4, 16)  # pool of the first and of the second scan in whole numbers, as multiples of k
_GROUP = 8  # blocks between two meetings of the threads
_PIECE = 1024  # pairs rescored at once

Blocks = Callable[[], Iterable[np.ndarray]]
Item = TypeVar("Item")


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
        blocks: gives the corpus in order, float32 [<= DOCUMENT_BLOCK, dim] each; it is read twice or more often.
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
                documents[left], scores[left], proven = _search(queries[left], blocks, k, size, whole, pool)
                left = left[~proven]
    return Hits(documents, scores)


def integers_are_fast() -> bool:
    """Whether this CPU multiplies int8 exactly and faster than float32 (VNNI)."""
    return bool(torch.cpu._is_vnni_supported())


# ---------------------------------------------------------------- one search: scan, rescore, prove


@dataclass(frozen=True)
class _Factor:
    """Rounded vectors: scale * values, and how far from the true ones."""

    values: torch.Tensor  # int8 or float32 [n, dim]
    scale: np.ndarray  # float64 [n] of queries, [1] of a block of documents
    norm: np.ndarray  # float64 [n]: of the rounded vectors
    error: np.ndarray  # float64 [n]: norm of (true - rounded)


def _search(
    queries: np.ndarray, blocks: Blocks, k: int, size: int, whole: bool, pool: Executor
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(documents [queries, k], scores [queries, k], bool [queries]: proven), from pools of `size` documents."""
    asked = _rounded(queries, whole, by_row=True)
    keys, norm, error = _scan(asked, blocks, size, whole, pool)
    found, rough = from_keys(keys)
    rough = rough.astype(np.float64) * asked.scale[:, None]
    length = np.linalg.norm(queries.astype(np.float64), axis=1)
    rounding = queries.shape[1] * np.finfo(np.float32).eps * length * (norm + error)  # of a float32 sum
    doubt = asked.error * norm + length * error + rounding
    kth = np.partition(rough, size - k, axis=1)[:, size - k]
    found = np.where(rough >= (kth - 2 * doubt)[:, None], found, -1)  # what may be among the best
    documents, scores = best_first(_rescored(queries, found, blocks, pool), k)
    lowest = rough.min(axis=1)
    return documents, scores, np.isneginf(lowest) | (lowest + doubt < scores[:, -1])


def _rounded(vectors: np.ndarray, whole: bool, by_row: bool) -> _Factor:
    """Raises UserError when a vector is not finite."""
    peak = np.maximum(vectors.max(axis=1), -vectors.min(axis=1)).astype(np.float64)
    if not np.isfinite(peak).all():
        raise UserError("a dense teacher gave a vector that is not finite; check its weights and precision")
    scale = peak if by_row else peak.max(keepdims=True, initial=0.0)
    scale = np.where(scale > 0, scale / 127, 1.0) if whole else np.ones_like(scale)
    if not whole:
        return _Factor(torch.from_numpy(vectors), scale, _norms(vectors), np.zeros(len(vectors)))
    scaled = vectors * (1 / scale[:, None]).astype(np.float32)
    values = np.rint(scaled)
    error = _norms(np.subtract(scaled, values, out=scaled)) * scale
    return _Factor(torch.from_numpy(values.astype(np.int8)), scale, _norms(values) * scale, error)


def _norms(vectors: np.ndarray) -> np.ndarray:
    return np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float32).astype(np.float64))


def _scan(asked: _Factor, blocks: Blocks, size: int, whole: bool, pool: Executor) -> tuple[np.ndarray, float, float]:
    """(keys [queries, size] by rounded score without the query's scale, largest norm and error of the documents)."""
    cuts = [slice(start, start + QUERY_BLOCK) for start in range(0, len(asked.values), QUERY_BLOCK)]
    parts = [asked.values[cut] for cut in cuts]
    best = [RunningTopK(len(part), size) for part in parts]
    first, norm, error = 0, 0.0, 0.0

    def multiply(i: int, group: list[_Factor], first: int) -> None:
        for block in group:
            product = torch._int_mm(parts[i], block.values.T) if whole else parts[i] @ block.values.T
            best[i].add(product.numpy(), first, float(block.scale[0]))
            first += len(block.values)

    for group in _ahead(pool, blocks(), partial(_rounded, whole=whole, by_row=False), _GROUP):
        list(pool.map(partial(multiply, group=group, first=first), range(len(cuts))))
        first += sum(len(block.values) for block in group)
        norm = max(norm, *(float(block.norm.max()) for block in group))
        error = max(error, *(float(block.error.max()) for block in group))
    return np.concatenate([one.keys() for one in best]), norm, error


def _rescored(queries: np.ndarray, found: np.ndarray, blocks: Blocks, pool: Executor) -> np.ndarray:
    """int64 keys of found's shape: true products of each query with its documents (-1: none)."""
    keys = np.full(found.shape, np.iinfo(np.int64).min, dtype=np.int64)
    rows, columns = np.nonzero(found >= 0)
    order = np.argsort(found[rows, columns])
    rows, columns = rows[order], columns[order]
    documents = found[rows, columns]

    def multiply(start: int, stop: int, block: np.ndarray, first: int) -> None:
        row, wanted = rows[start:stop], documents[start:stop]
        scores = np.einsum("ij,ij->i", queries[row], block[wanted - first])
        keys[row, columns[start:stop]] = as_keys(scores, wanted)

    first = 0
    for (block,) in _ahead(pool, blocks(), np.asarray, 1):
        start, stop = np.searchsorted(documents, [first, first + len(block)])
        starts = range(start, stop, _PIECE)
        stops = [min(at + _PIECE, stop) for at in starts]
        list(pool.map(partial(multiply, block=block, first=first), starts, stops))
        first += len(block)
    return keys


def _ahead(
    pool: Executor, items: Iterable[np.ndarray], prepare: Callable[[np.ndarray], Item], number: int
) -> Iterator[list[Item]]:
    """prepare(item) of each, `number` in a list; the next list is made in the pool while the last one is in use."""
    stream = iter(items)

    def take() -> list[Item]:
        return [prepare(item) for item in islice(stream, number)]

    coming = pool.submit(take)
    while ready := coming.result():
        coming = pool.submit(take)
        yield ready
