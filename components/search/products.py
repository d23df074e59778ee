"""True products of chosen pairs, one by one, from one pass over the corpus."""

import warnings
from concurrent.futures import Executor, Future
from itertools import accumulate

import numpy as np
import torch

from components.search.stream import Blocks, in_groups, wait_for_all

warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")


def true_products(queries: np.ndarray, found: np.ndarray, blocks: Blocks, pool: Executor) -> np.ndarray:
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
    for group in in_groups(blocks()):
        starts = list(accumulate((len(block) for block in group), initial=first))
        before, running = running, [pool.submit(multiply, *each) for each in zip(group, starts, strict=False)]
        first = starts[-1]
        wait_for_all(before)
    wait_for_all(running)
    return scores.reshape(found.shape)
