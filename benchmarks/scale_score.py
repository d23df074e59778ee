"""Memory and speed of the score stage as the pairs grow.

    python -m benchmarks.scale_score [--quick] [--json FILE] [--folder DIR] [--pairs N N] [--documents N]

Synthetic tables of realistic lengths, from a seed: 1,000,000 documents of 20 to 400 words (mean 90) in four tasks of
unequal size, 50 candidates a query, 5 and then 20 million pairs. The stage then runs as it is, all queries scored, in
a process of its own whose peak resident memory is read from the kernel (--quick: a tenth of everything). The reranker
alone is a stub that returns a number made from the lengths of the two texts it is given.

Keys: score_peak_gib (of the larger run), score_growth (peak of the larger run over the smaller one's, minus 1),
score_pairs_per_second (of the larger run), score_pairs_per_cpu_second (the same, of all threads' CPU time and with the
start of the process: what other programs on the machine take does not count).
"""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl

from benchmarks.scale_mine import make_prepared
from benchmarks.scale_stage import DEPTH, peak_memory, run_apart, run_two_sizes
from components.config import EngineParams, ScoreParams
from components.contracts.streams import TableWriter
from components.contracts.tables import CANDIDATES
from components.teacher import score

_PART = 20_000  # queries made at once


@dataclass(frozen=True)
class StubReranker:
    """In place of `components.teacher.scorers.Reranker`."""

    models: Path
    params: ScoreParams

    def score(self, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
        """float32 [n], in -1 ... 1."""
        lengths = np.array([7 * len(query) + 3 * len(document) for query, document in pairs])
        return ((lengths % 2001) / 1000 - 1).astype(np.float32)


def make_candidates(outputs: Path, ranges: dict[str, tuple[range, range]], seed: int = 1) -> int:
    """Write candidates.parquet: each query's positive and random documents of its task; returns the pairs."""
    random, pairs = np.random.default_rng(seed), 0
    answers = pl.read_parquet(outputs / "prepare" / "qrels.parquet")["document"].to_numpy().astype(np.int64)
    (outputs / "retrieve").mkdir()
    with TableWriter(outputs / "retrieve" / "candidates.parquet", CANDIDATES) as file:
        for queries, documents in ranges.values():
            for start in range(queries.start, queries.stop, _PART):
                own = np.arange(start, min(start + _PART, queries.stop))
                found = random.integers(documents.start, documents.stop, (len(own), DEPTH))
                found[:, 0] = answers[own]
                frame = pl.DataFrame({"query": np.repeat(own, DEPTH), "document": found.reshape(-1)})
                frame = frame.unique().sort("query", "document")
                numbers = pl.Series(random.random(len(frame)))
                columns = {"bm25_score": numbers * 20, "dense_score": numbers, "fused_score": numbers / 60}
                file.append(frame.with_columns(bm25_rank=1, dense_rank=1, **columns))
                pairs += len(frame)
    return pairs


def run_stage(outputs: Path) -> dict[str, float]:
    """Run score in this process: seconds, peak memory in GiB, and the stage's metrics."""
    score.Reranker = StubReranker  # type: ignore[assignment,misc]  # the model alone is not the product's
    for folder in ("score", "work", "fetch/models/stub"):
        (outputs / folder).mkdir(parents=True)
    (outputs / "fetch" / "models" / "stub" / "config.json").write_text("{}", encoding="utf-8")
    params = ScoreParams(reranker="cross_encoder", model="stub", queries="all", engine=EngineParams(workers=0))
    retrieve = SimpleNamespace(dense={"stub": None})  # so score counts no unknown tokens: the stub has no tokenizer
    config = SimpleNamespace(seed=7, threads=0, score=params, retrieve=retrieve)
    folders = {name: outputs / name for name in ("work", "cache")}
    context: Any = SimpleNamespace(outputs=outputs, out=outputs / "score", config=config, **folders)
    start = time.perf_counter()
    metrics = score.run(context)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "cpu_seconds": time.process_time(), "peak_gib": peak_memory(), **metrics}


def measure(folder: Path, documents: int, queries: int) -> dict[str, float]:
    """Make the tables and run the stage in a child process."""
    outputs = folder / f"{queries}"
    pairs = make_candidates(outputs, make_prepared(outputs / "prepare", documents, queries))
    found = run_apart("score", outputs)
    speed = f"{found['pairs'] / found['seconds']:,.0f} pairs/s ({found['cpu_seconds']:.1f} CPU seconds)"
    print(
        f"{documents:,} documents, {pairs:,} candidates: {found['seconds']:.1f} s, "
        f"{speed}, peak {found['peak_gib']:.2f} GiB, "
        f"load {os.getloadavg()[0]:.1f}",
        flush=True,
    )
    return found


if __name__ == "__main__":
    run_two_sizes("score", __doc__ or "", run_stage, measure)
