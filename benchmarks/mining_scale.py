"""Memory and time of exact mining as the corpus grows, and what a second Dask worker brings.

    python -m benchmarks.mining_scale [--quick] [--json FILE] [--outputs DIR] [--queries N]

Search: 384-dimensional vectors (clustered, generated from a seed) put into the vector store as the retrieve stage does,
then the 100 best of each query by the streaming exact search; one process per size, whose peak resident memory is
read from the kernel. Slope: least squares of log time on log size. Dask: cross-encoder shards (MiniLM's weights, one
logit) on a local cluster with one worker and with two, after a warm-up shard on each worker.
"""

import argparse
import hashlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

sys.path.insert(0, str(Path(__file__).parents[1]))  # benchmarks and infra belong to the checkout, not to the package

DIMENSION, DEPTH, SEGMENT = 384, 100, 16_384


def keys_of(start: int, stop: int) -> list[str]:
    """The store's keys of documents start ... stop - 1."""
    return [hashlib.sha256(str(i).encode()).hexdigest() for i in range(start, stop)]


def vectors_of(start: int, stop: int) -> np.ndarray:
    """float32 [stop - start, 384], L2-normalised, in 2,000 clusters; the same for the same rows."""
    centres = np.random.default_rng(0).standard_normal((2000, DIMENSION), dtype=np.float32)
    own = np.random.default_rng([1, start])
    rows = centres[own.integers(0, 2000, stop - start)]
    rows += own.standard_normal(rows.shape, dtype=np.float32)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def search(folder: Path, documents: int, queries: int) -> dict[str, float]:
    """Seconds and peak memory of this process (run it alone): search `documents` vectors of the store."""
    from components.base.threads import worker_count
    from components.model.vector_store import VectorStore
    from components.search.exact import exact_search
    from components.search.stream import DOCUMENT_BLOCK

    store = VectorStore(folder, "scale")

    def blocks() -> Iterator[np.ndarray]:
        for start in range(0, documents, DOCUMENT_BLOCK):
            yield store.get(keys_of(start, min(start + DOCUMENT_BLOCK, documents)))[1]

    asked = vectors_of(0, SEGMENT)[:queries]  # drawn as `fill` draws its first segment
    start = time.perf_counter()
    hits = exact_search(asked, blocks, DEPTH, worker_count(0))
    seconds = time.perf_counter() - start
    assert (hits.documents[:, 0] == np.arange(queries)).mean() > 0.99  # each query is a document: it finds itself
    return {"seconds": seconds, "peak_rss_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20}


def fill(folder: Path, documents: int) -> None:
    """Put the vectors into the store, a segment at a time."""
    from components.model.vector_store import VectorStore

    store = VectorStore(folder, "scale")
    for start in range(0, documents, SEGMENT):
        stop = min(start + SEGMENT, documents)
        store.put(keys_of(start, stop), vectors_of(start, stop))


def measured(folder: Path, sizes: list[int], queries: int, repeats: int) -> dict[int, dict[str, float]]:
    """Best time and largest memory by size; each run in a process of its own, sizes in turn."""
    found: dict[int, list[dict[str, float]]] = {size: [] for size in sizes}
    for _ in range(repeats):
        for size in sizes:
            command = [sys.executable, __file__, "--search", str(folder), str(size), str(queries)]
            answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            found[size].append(json.loads(answer.splitlines()[-1]))
    return {
        size: {
            "seconds": min(run["seconds"] for run in runs),
            "peak_rss_gib": max(run["peak_rss_gib"] for run in runs),
        }
        for size, runs in found.items()
    }


def dask_gain(outputs: Path, folder: Path, shards: int, pairs: int) -> dict[str, float]:
    """Seconds of the same shards with one worker and with two, and the cores that the workers got meanwhile.

    Cores: CPU seconds of the workers per second. Other programs on the machine take cores away; the gain can't be above
    cores of two over cores of one.
    """
    from distributed import Client

    from benchmarks.mining import make_cross_encoder
    from components.config import EngineParams, ScoreParams
    from components.contracts.texts import Texts, write_texts
    from components.stage.executor import prefect_server, run_shards
    from components.teacher.rescoring import score_shard
    from components.teacher.scorers import Reranker
    from infra.dask_cluster import start_cluster

    make_cross_encoder(outputs / "fetch" / "models", folder / "reranker")
    params = ScoreParams(reranker="cross_encoder", model="reranker", max_tokens=128)
    text = "a sentence of plain words that fills a part of the pair " * 6
    write_texts([f"question number {i} about it" for i in range(pairs)], folder / "queries.arrow")
    write_texts([text], folder / "documents.arrow")
    texts = Texts(folder / "queries.arrow"), Texts(folder / "documents.arrow")
    rows = pl.DataFrame({"query": range(pairs), "document": 0}).cast(pl.UInt32)
    rows.write_ipc(folder / "pairs.arrow")
    share = (Reranker(folder, params), folder / "pairs.arrow", 0, pairs, *texts)
    seconds, cores = {}, {}
    with prefect_server():
        for workers in (1, 2):
            with start_cluster(workers) as cluster, Client(cluster.scheduler_address) as client:
                engine = EngineParams(kind="dask", address=cluster.scheduler_address)
                for turn, number in (("warm", 2 * workers), ("run", shards)):
                    work = [(folder / f"{workers}-{turn}-{i}.npy", *share) for i in range(number)]
                    spent, start = sum(client.run(time.process_time).values()), time.perf_counter()
                    run_shards(score_shard, work, f"{workers} workers", engine, 1)
                    seconds[workers] = time.perf_counter() - start
                    cores[workers] = (sum(client.run(time.process_time).values()) - spent) / seconds[workers]
    gain = seconds[1] / seconds[2]
    return {"one": seconds[1], "two": seconds[2], "gain": gain, "cores_one": cores[1], "cores_two": cores[2]}


def main() -> None:
    """Measure, print, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--outputs", type=Path, default=Path("outputs"), help="after `dvc repro fetch`")
    parser.add_argument("--queries", type=int, default=2000)
    parser.add_argument("--search", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.search:
        print(json.dumps(search(Path(given.search[0]), int(given.search[1]), int(given.search[2]))))
        return
    sizes = [5_000, 20_000, 50_000] if given.quick else [50_000, 200_000, 1_000_000]
    queries, repeats, shards, pairs = (200, 1, 4, 16) if given.quick else (given.queries, 3, 16, 256)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fill(folder / "store", sizes[-1])
        runs = measured(folder / "store", sizes, queries, repeats)
        dask = dask_gain(given.outputs, folder, shards, pairs)
    slope = float(np.polyfit(np.log(sizes), np.log([runs[size]["seconds"] for size in sizes]), 1)[0])
    figures: dict[str, Any] = {
        "peak_rss_gib": runs[sizes[-1]]["peak_rss_gib"],
        "slope": slope,
        "dask_two_workers": dask["gain"],
        "dask_one_worker_seconds": dask["one"],
        "dask_two_workers_seconds": dask["two"],
        "dask_one_worker_cores": dask["cores_one"],
        "dask_two_workers_cores": dask["cores_two"],
        "queries": queries,
        "load_average": os.getloadavg()[0],
        **{f"seconds_{size}": runs[size]["seconds"] for size in sizes},
    }
    print(f"exact top {DEPTH} of {queries:,} queries, {DIMENSION} dimensions, load {figures['load_average']:.1f}")
    for size in sizes:
        print(f"{size:>10,} documents {runs[size]['seconds']:8.2f} s, peak {runs[size]['peak_rss_gib']:.2f} GiB")
    print(f"log-log slope {slope:.2f}")
    print(
        f"Dask, cross-encoder shards: {dask['one']:.1f} s with one worker ({dask['cores_one']:.2f} cores), "
        f"{dask['two']:.1f} s with two ({dask['cores_two']:.2f} cores): {dask['gain']:.2f} x"
    )
    if given.json:
        given.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
