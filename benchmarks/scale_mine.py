"""Memory and speed of the mine stage as the pairs grow.

    python -m benchmarks.scale_mine [--quick] [--json FILE] [--folder DIR] [--pairs N N] [--documents N]

Synthetic tables of realistic lengths, from a seed: 1,000,000 documents of 20 to 400 words (mean 90) in four tasks of
unequal size, one in a hundred a near copy of its neighbour; 50 scored candidates a query, 5 and then 20 million pairs.
The stage then runs as it is, in a process of its own whose peak resident memory is read from the kernel (--quick: a
tenth of everything). No model is called: there is no judge.

Keys: mine_peak_gib (of the larger run), mine_growth (peak of the larger run over the smaller one's, minus 1),
mine_pairs_per_second (of the larger run).
"""

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl

from benchmarks.scale_stage import DEPTH, peak_memory, run_apart, run_two_sizes
from components.config import MineParams
from components.contracts.streams import TableWriter
from components.contracts.tables import CORPUS, QRELS, QUERIES, TEACHER_SCORES, write_table
from components.mining import mine

TASKS = {"answers": 0.5, "claims": 0.25, "forum": 0.15, "titles": 0.1}  # share of the documents and queries
DEV = 1000  # dev queries of a task
_PART = 20_000  # rows made at once
_WORDS = np.array([f"{a}{b}{c}" for a in "bdfgklmnprst" for b in ("a", "ei", "o", "urn", "ist") for c in
                   ("ba", "den", "fi", "gal", "ke", "lom", "nu", "pra", "ris", "sto", "tem", "va")])  # fmt: skip


def make_texts(number: int, random: np.random.Generator) -> list[str]:
    """Texts of 20 to 400 words; one in a hundred repeats the one before with a few words changed."""
    texts: list[str] = []
    for length in np.clip(random.lognormal(4.3, 0.6, number), 20, 400).astype(int):
        copied = bool(texts) and random.random() < 0.01
        words = texts[-1].split() if copied else _WORDS[random.integers(0, len(_WORDS), length)].tolist()
        if copied:
            words[int(random.integers(0, len(words)))] = "changed"
        texts.append(" ".join(words))
    return texts


def make_prepared(folder: Path, documents: int, queries: int, seed: int = 0) -> dict[str, tuple[range, range]]:
    """Write corpus, queries and qrels; returns (query rows, document rows) of each task."""
    random, ranges = np.random.default_rng(seed), {}
    corpus, asked, qrels = [], [], []
    first_document = first_query = 0
    for task, share in TASKS.items():
        own, asks = int(documents * share), int(queries * share)
        texts: list[str] = []
        while len(texts) < own:
            texts += make_texts(min(_PART, own - len(texts)), random)
        rows = np.arange(first_document, first_document + own)
        corpus.append(_table(rows, [f"{task}-{i:08d}" for i in range(own)], texts, task, None, "doc_id"))
        splits = np.where(np.arange(asks) < min(DEV, asks // 4), "dev", "train")
        questions = [f"{texts[int(i)][:60]} {n}" for n, i in enumerate(random.integers(0, own, asks))]
        numbers = np.arange(first_query, first_query + asks)
        asked.append(_table(numbers, [f"{task}-q{i:08d}" for i in range(asks)], questions, task, splits, "query_id"))
        answers = np.sort(rows[random.integers(0, own, asks)]) if asks else rows[:0]
        qrels.append(pl.DataFrame({"query": numbers, "document": answers}).with_columns(relevance=pl.lit(1.0)))
        ranges[task] = (range(first_query, first_query + asks), range(first_document, first_document + own))
        first_document, first_query = first_document + own, first_query + asks
    write_table(pl.concat(corpus), folder / "corpus.parquet", CORPUS)
    write_table(pl.concat(asked), folder / "queries.parquet", QUERIES)
    write_table(pl.concat(qrels), folder / "qrels.parquet", QRELS)
    return ranges


def _table(rows: np.ndarray, ids: list[str], texts: list[str], task: str, split: Any, name: str) -> pl.DataFrame:
    columns = {"row": rows, name: ids, "text": texts}
    labels = {"label": pl.lit(None, pl.String), "split": pl.lit(split) if split is None else pl.Series(split)}
    return pl.DataFrame(columns).with_columns(task=pl.lit(task), **labels)


def make_scores(outputs: Path, ranges: dict[str, tuple[range, range]], seed: int = 1) -> int:
    """Write teacher_scores.parquet: each query's positive, its neighbour and random documents; returns the pairs."""
    random, pairs = np.random.default_rng(seed), 0
    qrels = pl.read_parquet(outputs / "prepare" / "qrels.parquet")
    (outputs / "score").mkdir(exist_ok=True)
    with TableWriter(outputs / "score" / "teacher_scores.parquet", TEACHER_SCORES) as file:
        for queries, documents in ranges.values():
            for start in range(queries.start, queries.stop, _PART):
                own = np.arange(start, min(start + _PART, queries.stop))
                positive = qrels["document"].to_numpy()[own].astype(np.int64)
                found = random.integers(documents.start, documents.stop, (len(own), DEPTH))
                found[:, 0], found[:, 1] = positive, np.minimum(positive + 1, documents.stop - 1)
                frame = pl.DataFrame({"query": np.repeat(own, DEPTH), "document": found.reshape(-1)})
                scores = random.normal(0.4, 0.15, len(frame)).round(6)
                frame = frame.with_columns(
                    fused_score=pl.Series(random.random(len(frame))), reranker_score=pl.Series(scores)
                )
                best = pl.when(pl.col("document") == pl.Series(np.repeat(positive, DEPTH)))
                frame = frame.with_columns(reranker_score=best.then(0.8).otherwise(pl.col("reranker_score")))
                frame = frame.unique(["query", "document"], keep="first").sort("query", "document")
                file.append(frame.with_columns(relevance=pl.lit(0.5)))
                pairs += len(frame)
    return pairs


def run_stage(outputs: Path) -> dict[str, float]:
    """Run mine in this process: seconds, peak memory in GiB, negatives."""
    out = outputs / "mine"
    out.mkdir()
    config = SimpleNamespace(seed=7, threads=0, mine=MineParams(), score=SimpleNamespace(reranker="maxsim"))
    context: Any = SimpleNamespace(outputs=outputs, out=out, config=config, cache=outputs / "cache")
    start = time.perf_counter()
    metrics = mine.run(context)
    return {"seconds": time.perf_counter() - start, "peak_gib": peak_memory(), **metrics}


def measure(folder: Path, documents: int, queries: int) -> dict[str, float]:
    """Make the tables and run the stage in a child process."""
    outputs = folder / f"{queries}"
    ranges = make_prepared(outputs / "prepare", documents, queries)
    pairs = make_scores(outputs, ranges)
    found = run_apart("mine", outputs)
    print(
        f"{documents:,} documents, {pairs:,} pairs: {found['seconds']:.1f} s, {pairs / found['seconds']:,.0f} pairs/s, "
        f"peak {found['peak_gib']:.2f} GiB; kept {found['kept_share']:.3f}, "
        f"copies {int(found.get('rejected/duplicate_of_positive', 0)):,}",
        flush=True,
    )
    return {**found, "pairs": pairs}


if __name__ == "__main__":
    run_two_sizes("mine", __doc__ or "", run_stage, measure)
