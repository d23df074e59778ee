"""Approximate search by FAISS, for corpora where the exact scan takes too long; its recall is measured every time."""

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

import numpy as np

from components.base.errors import UserError
from components.config import IndexParams
from components.search.exact import Hits, exact_search
from components.search.stream import DOCUMENT_BLOCK

_SAMPLE = 200  # queries that are also searched exactly
_TRAIN = 64  # training vectors per inverted list

Blocks = Callable[[], Iterable[np.ndarray]]


def approximate_search(
    queries: np.ndarray, blocks: Blocks, documents: int, k: int, params: IndexParams, threads: int
) -> tuple[Hits, float]:
    """(hits, recall): recall is the share of the exact top k found, over the first 200 queries.

    Args:
        queries: float32 [queries, dim].
        blocks: gives the corpus in order, in blocks of DOCUMENT_BLOCK; it is read twice.
        documents: size of the corpus.
        params: ivf (inverted lists), hnsw (graph), or cagra (graph on a GPU, by cuVS).

    Raises:
        UserError: cagra without a FAISS that has GPU and cuVS support.
    """
    import faiss

    faiss.omp_set_num_threads(1)  # training must not depend on the cores
    index = _index(faiss, queries.shape[1], blocks, documents, params)
    faiss.omp_set_num_threads(threads)
    scores, found = index.search(np.ascontiguousarray(queries), min(k, documents))
    hits = _padded(scores, found.astype(np.int64), k)
    exact = exact_search(queries[:_SAMPLE], blocks, k, threads)
    return hits, _recall(exact, hits)


def _index(faiss: Any, dimension: int, blocks: Blocks, documents: int, params: IndexParams) -> Any:
    inner = faiss.METRIC_INNER_PRODUCT
    if params.kind == "cagra":
        if not hasattr(faiss, "GpuIndexCagra"):
            raise UserError("retrieve.index.kind: cagra needs a faiss build with GPU and cuVS; take ivf or hnsw")
        index = faiss.GpuIndexCagra(faiss.StandardGpuResources(), dimension, inner)
        index.train(np.concatenate(list(blocks())))
        return index
    if params.kind == "hnsw":
        index = faiss.IndexHNSWFlat(dimension, params.links, inner)
        index.hnsw.efConstruction = params.effort
        index.hnsw.efSearch = params.effort
    else:
        lists = params.lists or max(1, int(np.sqrt(documents)))
        index = faiss.IndexIVFFlat(faiss.IndexFlatIP(dimension), dimension, lists, inner)
        index.nprobe = min(params.probes, lists)
        index.cp.min_points_per_centroid = 1
        needed = -(-lists * _TRAIN // DOCUMENT_BLOCK)
        index.train(np.concatenate(list(islice(blocks(), needed))))
    for block in blocks():
        index.add(np.ascontiguousarray(block))
    return index


def _padded(scores: np.ndarray, found: np.ndarray, k: int) -> Hits:
    """k columns, ties to the earlier document, -1 and -inf where nothing was found."""
    scores = np.where(found >= 0, scores, -np.inf).astype(np.float32)
    order = np.lexsort((found, -scores), axis=1)
    scores, found = np.take_along_axis(scores, order, axis=1), np.take_along_axis(found, order, axis=1)
    room = ((0, 0), (0, k - scores.shape[1]))
    return Hits(np.pad(found, room, constant_values=-1), np.pad(scores, room, constant_values=-np.inf))


def _recall(exact: Hits, hits: Hits) -> float:
    shared = [len(np.intersect1d(a[a >= 0], b[b >= 0])) for a, b in zip(exact.documents, hits.documents, strict=False)]
    return float(sum(shared) / max(1, int((exact.documents >= 0).sum())))
