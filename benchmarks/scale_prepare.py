"""Memory, speed and recall of stage prepare at a million documents.

    python -m benchmarks.scale_prepare [--quick] [--json FILE] [--queries N]

A source of N queries and 2 N documents of 100 words (words drawn by Zipf's law from 50,000), and a second one whose
2,000 queries and documents are all held out. Among the first one's documents are edited copies of the held-out ones
whose word trigrams overlap by 0.70 to 0.75 (Jaccard), the hardest to find at the threshold of 0.7. The stage runs in a
process of its own, on every core; its peak memory is read from the kernel. Everything but the texts is the product's.

Keys: prepare_peak_gib, prepare_texts_per_second, prepare_cpu_seconds, decontamination_recall.
"""

import argparse
import json
import os
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

from benchmarks.scale_stage import peak_memory

WORDS, HELD_OUT, PLANTED = 100, 2000, 1000
BLOCK = 20_000


def texts_of(number: int, words: int, seed: int) -> list[str]:
    """Random texts by Zipf's law, the same for the same seed."""
    rng = np.random.default_rng(seed)
    vocabulary = np.array([f"w{word:x}" for word in np.random.default_rng(0).permutation(1 << 20)[:50_000]])
    weights = np.cumsum(1 / np.arange(1, len(vocabulary) + 1))
    drawn = np.searchsorted(weights, rng.random((number, words)) * weights[-1])
    return [" ".join(row) for row in vocabulary[drawn]]


def jaccard_of(left: str, right: str) -> float:
    """Overlap of the word trigrams."""
    sides = [set(zip(words, words[1:], words[2:], strict=False)) for words in (left.split(), right.split())]
    return len(sides[0] & sides[1]) / len(sides[0] | sides[1])


def edited(text: str, rng: np.random.Generator) -> str:
    """The text with some words replaced, so that the overlap is in 0.70 to 0.75."""
    while True:
        words = text.split()
        for place in rng.choice(len(words), 6, replace=False):
            words[place] = f"edit{rng.integers(1 << 30):x}"
        if 0.70 <= jaccard_of(" ".join(words), text) < 0.75:
            return " ".join(words)


def blocks(queries: int, planted: list[str]) -> Iterator[pl.DataFrame]:
    """The large source: each query with a positive and a negative; the planted texts are the first positives."""
    for start in range(0, queries, BLOCK):
        size = min(BLOCK, queries - start)
        documents = texts_of(2 * size, WORDS, start + 1)
        own = planted[start : start + size]
        documents[: 2 * len(own) : 2] = own
        asked = np.repeat(texts_of(size, 10, start + 2), 2)
        yield pl.DataFrame({"query": asked, "document": documents, "score": [1.0, 0.0] * size})


def write_sources(fetched: Path, queries: int) -> None:
    """outputs/fetch as prepare reads it: two sources and the data card."""
    import pyarrow.parquet as pq

    (fetched / "sources").mkdir(parents=True)
    held = texts_of(HELD_OUT, WORDS, 10**9)
    asked = texts_of(HELD_OUT, 10, 10**9 + 1)
    pl.DataFrame({"query": asked, "document": held}).write_parquet(fetched / "sources" / "held.parquet")
    rng = np.random.default_rng(1)
    planted = [edited(text, rng) for text in held[: min(PLANTED, queries)]]
    writer = None
    for block in blocks(queries, planted):
        table = block.to_arrow()
        writer = writer or pq.ParquetWriter(fetched / "sources" / "large.parquet", table.schema, compression="zstd")
        writer.write_table(table)
    if writer:
        writer.close()
    card = {name: {"licence": "none"} for name in ("held", "large")}
    (fetched / "data_card.json").write_text(json.dumps({"sources": card}))


def run_prepare(folder: Path, queries: int) -> dict[str, float]:
    """Seconds and peak memory of this process (run it alone)."""
    from components.config import Config, PrepareParams
    from components.data import prepare
    from components.stage.context import StageContext

    task = {"kind": "retrieval", "instruction": "Find the answer"}
    tasks = {
        "large": {**task, "train": queries, "dev": 200, "dev_documents": 2000},
        "held": {**task, "test": HELD_OUT},
    }
    config = Config.model_construct(seed=7, threads=0, prepare=PrepareParams.model_validate({"tasks": tasks}))
    out = folder / "outputs" / "prepare"
    out.mkdir()
    folders: Any = {"outputs": folder / "outputs", "work": folder / "work", "cache": folder / "cache"}
    start, cpu = time.perf_counter(), time.process_time()
    metrics = prepare.run(StageContext(config=config, out=out, log=lambda metrics, step: None, **folders))
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    removed = pl.read_parquet(out / "decontamination.parquet").filter(pl.col("id").str.starts_with("large-d"))
    texts = 3 * queries + 2 * HELD_OUT
    assert metrics["large.train"] > queries / 2  # all but planted, held out and hard ones
    return {
        "prepare_peak_gib": peak_memory(),
        "prepare_texts_per_second": texts / seconds,
        "prepare_cpu_seconds": cpu,
        "decontamination_recall": len(removed) / min(PLANTED, queries),
    }


def measure(queries: int) -> dict[str, Any]:
    """The figures at this size; the sources are made in this process, the stage runs in another."""
    with tempfile.TemporaryDirectory() as place:
        write_sources(Path(place) / "outputs" / "fetch", queries)
        command = [sys.executable, __file__, "--run", place, "--queries", str(queries)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return {"queries": queries, "documents": 2 * queries, "cores": len(os.sched_getaffinity(0))} | json.loads(
        done.stdout.splitlines()[-1]
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="10,000 queries")
    parser.add_argument("--queries", type=int, default=500_000)
    parser.add_argument("--json", type=Path, help="write the figures to FILE")
    parser.add_argument("--run", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        print(json.dumps(run_prepare(options.run, options.queries)))
        return
    figures = measure(10_000 if options.quick else options.queries)
    print(json.dumps(figures, indent=2))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
