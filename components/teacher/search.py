"""Exact top-k search over a corpus that streams by in blocks, most of it in whole numbers.

1. Scan: vectors are rounded to int8 (a scale per query, one per block of documents) and multiplied as integers, six to
   ten times as fast as float32 on a CPU with VNNI. Each query keeps a pool of its best by rounded score.
2. Rescore: the pool's true products in float32, one by one, from a second pass over the corpus.
3. Prove: the rounding error of a product is at most |q - q'| |d'| + |q| |d - d'| (Cauchy-Schwarz). A query is done when
   no document outside its pool can reach the k-th true score; the few that are not are searched again with a larger
   pool, and at last in float32.

So the answer is the exact one, and integers have no rounding that threads, shards or block borders could change. Memory
holds a few blocks, a tile of products per thread and the pools, whatever the size of the corpus. Without VNNI step 1 is
done in float32 and the answer is the same.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from itertools import accumulate, islice
from queue import SimpleQueue

import numpy as np
import torch

from components.teacher.engine import single_threaded, workers
from components.teacher.rounding import Rounded, as_it_is, integers_are_fast, rounded
from components.teacher.top_k import EMPTY, RunningTopK, as_keys, best_first, from_keys

warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")

DOCUMENT_BLOCK = 8192  # numpy compares rows of this length three times as fast as rows of half of it
QUERY_BLOCK = 256
_POOLS = (4, 16)  # pool of the first and of the second scan in whole numbers, as multiples of k
_GROUP = 4  # blocks handed to the threads at a time; the first group tells a pool where to begin

Blocks = Callable[[], Iterable[np.ndarray]]


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
        blocks: gives the corpus in order, float32 [<= DOCUMENT_BLOCK, dim] each; it is read twice or more often. The
            documents are fewer than 2^31.
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


# ---------------------------------------------------------------- one search: scan, rescore, prove


def _search(
    queries: np.ndarray, blocks: Blocks, k: int, size: int, whole: bool, pool: Executor, threads: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(documents [queries, k], scores [queries, k], bool [queries]: proven), from pools of `size` documents."""
    number = min(len(queries), max(threads, -(-len(queries) // QUERY_BLOCK)))
    parts = list(pool.map(lambda some: _Part(some, whole, k, size), np.array_split(queries, number)))
    norm, error = _scan(parts, blocks, whole, pool, threads)
    found = list(pool.map(lambda part: part.candidates(norm, error), parts))
    scores = _rescored(queries, np.concatenate(found), blocks, pool)
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
        documents, best = best_first(np.where(found < 0, EMPTY, as_keys(scores, found)), self.k)
        return documents, best, np.isneginf(self._outside) | (self._outside < best[:, -1])


def _scan(parts: Sequence[_Part], blocks: Blocks, whole: bool, pool: Executor, threads: int) -> tuple[float, float]:
    """Fill the parts' pools, by scores without the queries' scale; (largest norm, largest error) of the documents."""
    spare: SimpleQueue[torch.Tensor] = SimpleQueue()  # written again and again: fresh pages cost a tenth of the scan
    for _ in range(threads):
        memory = np.empty((_GROUP, QUERY_BLOCK * DOCUMENT_BLOCK), dtype=np.int32 if whole else np.float32)
        spare.put(torch.from_numpy(memory))

    norms, errors = [0.0], [0.0]

    def prepare(block: np.ndarray, out: np.ndarray | None) -> Rounded:
        prepared = as_it_is(block) if out is None else rounded(block, by_row=False, out=out)
        norms.append(float(prepared.norm.max()))
        errors.append(float(prepared.error.max()))
        return prepared

    def multiply(part: _Part, group: list[Future[Rounded]], first: int, before: Future[None]) -> None:
        before.result()
        prepared = [block.result() for block in group]
        memory = spare.get()
        try:
            tiles = (_tile(part.rounded, block, out) for block, out in zip(prepared, memory, strict=False))
            part.best.add(tiles, first, columns=sum(len(block.values) for block in prepared))
        finally:
            spare.put(memory)

    first = 0
    running = [_done()] * len(parts)  # a part takes one group after the other; the parts do not wait for each other
    for group in _groups(blocks()):
        outs = _in_one_piece(group) if whole else [None] * len(group)
        prepared = [pool.submit(prepare, block, out) for block, out in zip(group, outs, strict=True)]
        before = running
        running = [pool.submit(multiply, part, prepared, first, last) for part, last in zip(parts, before, strict=True)]
        first += sum(len(block) for block in group)
        _wait(before)
    _wait(running)
    return max(norms), max(errors)


def _in_one_piece(blocks: list[np.ndarray]) -> list[np.ndarray]:
    """Memory for each block's whole numbers; the system gives a large piece in huge pages, which is faster."""
    ends = np.cumsum([len(block) for block in blocks])
    return np.split(np.empty((ends[-1], blocks[0].shape[1]), dtype=np.int8), ends[:-1])


def _tile(queries: Rounded, documents: Rounded, memory: torch.Tensor) -> tuple[np.ndarray, float]:
    """(products int32 or float32 [queries, documents] in `memory`, the documents' scale)."""
    shape = len(queries.values), len(documents.values)
    out = memory[: shape[0] * shape[1]].view(shape)
    multiply = torch.mm if out.is_floating_point() else torch._int_mm
    multiply(queries.values, documents.values.T, out=out)
    return out.numpy(), float(documents.scale[0])


def _rescored(queries: np.ndarray, found: np.ndarray, blocks: Blocks, pool: Executor) -> np.ndarray:
    """float32 of found's shape: true products of each query with its documents; -inf where there is none (-1)."""
    scores = np.full(found.size, -np.inf, dtype=np.float32)
    asked, sought = torch.from_numpy(queries), found.astype(np.int32).reshape(-1)

    def multiply(block: np.ndarray, first: int) -> None:
        places = np.flatnonzero((sought >= first) & (sought < first + len(block)))
        rows = (sought[places] - first).astype(np.uint16)  # 16 bits: a radix sort
        order = np.argsort(rows, kind="stable")  # a document after the other: the queries stay in the core's cache
        ends = np.append(0, np.bincount(rows, minlength=len(block)).cumsum())
        places = places[order]
        pairs = torch.sparse_csr_tensor(
            torch.from_numpy(ends),
            torch.from_numpy(places // found.shape[1]),
            torch.zeros(len(places)),
            size=(len(block), len(queries)),
            check_invariants=False,
        )
        products = torch.sparse.sampled_addmm(pairs, torch.from_numpy(block), asked.T, beta=0.0)
        scores[places] = products.values().numpy()

    first = 0
    running: list[Future[None]] = []
    for group in _groups(blocks()):
        starts = list(accumulate((len(block) for block in group), initial=first))
        before, running = running, [pool.submit(multiply, *each) for each in zip(group, starts, strict=False)]
        first = starts[-1]
        _wait(before)
    _wait(running)
    return scores.reshape(found.shape)


def _groups(blocks: Iterable[np.ndarray]) -> Iterator[list[np.ndarray]]:
    stream = iter(blocks)
    while group := list(islice(stream, _GROUP)):
        yield group


def _wait(tasks: Iterable[Future]) -> None:
    """Until all are done; two groups are in the threads' hands and a third is read, no more."""
    for task in tasks:
        task.result()


def _done() -> Future[None]:
    nothing: Future[None] = Future()
    nothing.set_result(None)
    return nothing
