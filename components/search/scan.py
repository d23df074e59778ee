"""One pass over a streamed corpus: products of all queries with all documents in tiles, the best of each kept."""

from collections.abc import Sequence
from concurrent.futures import Executor, Future
from queue import SimpleQueue

import numpy as np
import torch

from components.search.rounding import Rounded, keep_float32, round_to_int8
from components.search.stream import DOCUMENT_BLOCK, GROUP, Blocks, in_groups, wait_for_all
from components.search.top_k import RunningTopK


def scan(
    queries: Sequence[Rounded], pools: Sequence[RunningTopK], blocks: Blocks, threads: int, executor: Executor
) -> tuple[float, float]:
    """Fill the pool of each chunk of queries; documents are rounded to int8 if the queries are.

    Scores in a pool are not multiplied by the query's scale. Returns the largest norm and the largest rounding error of
    any document.
    """
    int8 = queries[0].values.dtype == torch.int8
    rows = max(len(chunk.values) for chunk in queries)
    # One buffer of products a thread, reused: to allocate them costs a tenth of the scan.
    buffers: SimpleQueue[torch.Tensor] = SimpleQueue()
    for _ in range(threads):
        memory = np.empty((GROUP, rows * DOCUMENT_BLOCK), dtype=np.int32 if int8 else np.float32)
        buffers.put(torch.from_numpy(memory))

    norms, errors = [0.0], [0.0]

    def prepare(block: np.ndarray, out: np.ndarray | None) -> Rounded:
        prepared = keep_float32(block) if out is None else round_to_int8(block, by_row=False, out=out)
        norms.append(float(prepared.norm.max()))
        errors.append(float(prepared.error.max()))
        return prepared

    def multiply(chunk: Rounded, best: RunningTopK, group: list[Future[Rounded]], first: int, before: Future) -> None:
        before.result()  # the same chunk's products with the group before: a pool is written by one task at a time
        documents = [block.result() for block in group]
        buffer = buffers.get()
        try:
            tiles = (_tile(chunk, block, out) for block, out in zip(documents, buffer, strict=False))
            best.add(tiles, first, columns=sum(len(block.values) for block in documents))
        finally:
            buffers.put(buffer)

    first = 0  # number of the group's first document
    running = [_done()] * len(queries)  # the last task of each chunk
    for group in in_groups(blocks()):
        # 1. Round the group's blocks, a task each.
        outs = _allocate_int8(group) if int8 else [None] * len(group)
        prepared = [executor.submit(prepare, block, out) for block, out in zip(group, outs, strict=True)]
        # 2. Multiply with every chunk, a task each; chunks do not wait for one another.
        before, each = running, zip(queries, pools, running, strict=True)
        running = [executor.submit(multiply, chunk, best, prepared, first, last) for chunk, best, last in each]
        first += sum(len(block) for block in group)
        # 3. Wait for the group before this one, so that two groups are in memory at most.
        wait_for_all(before)
    wait_for_all(running)
    return max(norms), max(errors)


def _allocate_int8(blocks: list[np.ndarray]) -> list[np.ndarray]:
    """Memory for each block's int8 values, from one allocation: a large one gets huge pages, which are faster."""
    ends = np.cumsum([len(block) for block in blocks])
    return np.split(np.empty((ends[-1], blocks[0].shape[1]), dtype=np.int8), ends[:-1])


def _tile(queries: Rounded, documents: Rounded, memory: torch.Tensor) -> tuple[np.ndarray, float]:
    """(products int32 or float32 [queries, documents] in `memory`, the documents' scale)."""
    shape = len(queries.values), len(documents.values)
    # The front of the buffer, so that the tile is contiguous.
    out = memory[: shape[0] * shape[1]].view(shape)
    multiply = torch.mm if out.is_floating_point() else torch._int_mm
    multiply(queries.values, documents.values.T, out=out)
    return out.numpy(), float(documents.scale[0])


def _done() -> Future[None]:
    nothing: Future[None] = Future()
    nothing.set_result(None)
    return nothing
