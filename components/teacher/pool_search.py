"""Exact search of a pool in shards of queries: a killed run continues, and a Dask cluster can share them.

A shard reads the corpus from the vector store and leaves its hits in one file, as the 64-bit keys of
components/search/top_k.py. On this machine the shards run one after the other with every thread on one pass over the
corpus; on Dask a worker has a shard, and a pass, of its own. The answer is the same.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from components.base.files import whole_file
from components.base.progress import progress
from components.config import EngineParams
from components.model.device import all_cards
from components.model.vector_store import VectorStore
from components.search.exact import Hits, exact_search
from components.search.stream import DOCUMENT_BLOCK
from components.search.top_k import from_keys, keys_of_hits
from components.stage.executor import run_shards
from components.teacher.dense import EmbeddedTexts, Rows

QUERIES_A_SHARD = 4096  # fewer read the corpus more often than they need to; more are lost at a kill


def search_pool(
    teacher: EmbeddedTexts,
    documents: Rows,
    queries: Rows,
    k: int,
    work: Path,
    label: str,
    engine: EngineParams,
    threads: int,
) -> Hits:
    """The k best documents of each query; see `exact_search`. All texts are in the teacher's store already.

    Args:
        work: folder that survives a kill; each pair of queries and corpus has a folder in it.
    """
    digest = hashlib.sha256(teacher.identity.encode())
    for part in (documents, queries):
        digest.update(f"\0{part.side!r}\0{part.texts.file.name}\0".encode() + part.rows.tobytes())
    folder = work / "search" / digest.hexdigest()[:32]
    for name, part in (("documents", documents), ("queries", queries)):
        _write_keys(part, folder / f"{name}.npy")
    starts = range(0, len(queries.rows), QUERIES_A_SHARD)
    files = [folder / f"{start:09d}-{QUERIES_A_SHARD}-{k}.npy" for start in starts]
    shards = [
        (file, teacher.store, teacher.identity, start, QUERIES_A_SHARD, k)
        for file, start in zip(files, starts, strict=True)
        if not file.exists()
    ]
    if engine.kind == "dask":
        run_shards(search_shard, shards, label, engine, threads)
    else:
        for shard in progress(shards, label, unit="shard"):
            search_shard(*shard, threads=threads)
    parts = [from_keys(np.load(file)) for file in files]
    return Hits(np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts]))


def _write_keys(wanted: Rows, file: Path) -> None:
    """The store's keys of the rows, uint64 [n, 4], a block in memory at a time."""
    if file.exists():
        return
    with whole_file(file) as partial:
        keys = np.lib.format.open_memmap(partial, mode="w+", dtype=np.uint64, shape=(len(wanted.rows), 4))
        start = 0
        for block in wanted.blocks():
            keys[start : start + len(block.rows)] = block.keys()
            start += len(block.rows)
        keys.flush()


def search_shard(out: Path, store: Path, identity: str, start: int, count: int, k: int, threads: int = 1) -> None:
    """Search queries start ... start + count - 1; int64 keys [queries, k], best first, into the .npy file `out`."""
    vectors = VectorStore(store, identity)
    documents, queries = (np.load(out.parent / f"{name}.npy", mmap_mode="r") for name in ("documents", "queries"))

    def blocks() -> Iterator[np.ndarray]:
        for first in range(0, len(documents), DOCUMENT_BLOCK):
            yield vectors.read(np.array(documents[first : first + DOCUMENT_BLOCK]))

    hits = exact_search(vectors.read(np.array(queries[start : start + count])), blocks, k, threads, all_cards())
    with whole_file(out) as partial, partial.open("wb") as handle:
        np.save(handle, keys_of_hits(hits.documents, hits.scores), allow_pickle=False)
