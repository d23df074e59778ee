"""One pass over a corpus: every query against every document, in tiles, the best kept in pools."""

from collections.abc import Sequence
from concurrent.futures import Executor, Future
from queue import SimpleQueue

import numpy as np
import torch

from components.search.rounding import Rounded, as_it_is, rounded
from components.search.stream import DOCUMENT_BLOCK, GROUP, Blocks, in_groups, wait
from components.search.top_k import RunningTopK


def scan(
    queries: Sequence[Rounded], pools: Sequence[RunningTopK], blocks: Blocks, threads: int, executor: Executor
) -> tuple[float, float]:
    """Fill the pool of each part of the queries, by products with the documents, rounded as the queries are.

    A pool's scores lack the queries' scale. Gives the largest norm and the largest error of the rounded documents.
    """
    whole = queries[0].values.dtype == torch.int8
    rows = max(len(part.values) for part in queries)
    spare: SimpleQueue[torch.Tensor] = SimpleQueue()  # written again and again: fresh pages cost a tenth of the scan
    for _ in range(threads):
        memory = np.empty((GROUP, rows * DOCUMENT_BLOCK), dtype=np.int32 if whole else np.float32)
        spare.put(torch.from_numpy(memory))

    norms, errors = [0.0], [0.0]

    def prepare(block: np.ndarray, out: np.ndarray | None) -> Rounded:
        prepared = as_it_is(block) if out is None else rounded(block, by_row=False, out=out)
        norms.append(float(prepared.norm.max()))
        errors.append(float(prepared.error.max()))
        return prepared

    def multiply(part: Rounded, best: RunningTopK, coming: list[Future[Rounded]], first: int, before: Future) -> None:
        before.result()
        documents = [block.result() for block in coming]
        memory = spare.get()
        try:
            tiles = (_tile(part, block, out) for block, out in zip(documents, memory, strict=False))
            best.add(tiles, first, columns=sum(len(block.values) for block in documents))
        finally:
            spare.put(memory)

    first = 0
    running = [_done()] * len(queries)  # a part takes one group after the other; the parts do not wait for each other
    for group in in_groups(blocks()):
        outs = _in_one_piece(group) if whole else [None] * len(group)
        coming = [executor.submit(prepare, block, out) for block, out in zip(group, outs, strict=True)]
        before, each = running, zip(queries, pools, running, strict=True)
        running = [executor.submit(multiply, part, best, coming, first, last) for part, best, last in each]
        first += sum(len(block) for block in group)
        wait(before)
    wait(running)
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


def _done() -> Future[None]:
    nothing: Future[None] = Future()
    nothing.set_result(None)
    return nothing
