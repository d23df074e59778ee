"""Small parameters and tables for tests of any room, and a still garbage collector."""

import copy
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from components.contracts.tables import CORPUS, QRELS, QUERIES, TRIPLETS, name_by_row, number_rows, write_table
from components.contracts.tasks import Task, write_tasks

ROOT = Path(__file__).resolve().parents[1]


@contextmanager
def only_collected_when_asked() -> Iterator[None]:
    """The garbage collector runs when code calls it, and never by chance.

    peft comes before any model: it imports bitsandbytes, which logs a failed import with its traceback; pytest keeps
    what is logged, and the traceback's frames would keep the model.
    """
    import peft  # noqa: F401

    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def small_parameters(**changes: Any) -> dict[str, Any]:
    """The starter's parameters cut to a size for tests; `changes` by dotted key."""
    raw = copy.deepcopy(yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8")))
    small = {
        "seed": 0,
        "threads": 1,
        "prompt.prefix_tokens": 400,
        "prompt.document_tokens": 48,
        "encoder.device": "cpu",
        "train": {
            "precision": "fp32",  # the same numbers on every machine
            "steps": 6,
            "batch_queries": 4,
            "alpha": 0.5,
            "phases": [],
            "merge": None,
            "negatives": 2,
            "learning_rate": 0.01,
            "checkpoint_every": 2,
        },
    }
    for key, value in {**small, **changes}.items():
        *path, last = key.split(".")
        section = raw
        for part in path:
            section = section[part]
        section[last] = value
    return raw


def write_training_tables(outputs: Path, pairs: int = 24) -> Path:
    """outputs/prepare and outputs/mine of two small tasks: retrieval (words) and classification by label (animals)."""
    prepare = outputs / "prepare"
    prepare.mkdir(parents=True, exist_ok=True)
    words = [f"{a}{b}" for a in ("red", "blue", "dark", "old") for b in ("fox", "sky", "sea", "oak", "ice", "sun")]
    documents: list[tuple[Any, ...]] = []
    queries: list[tuple[Any, ...]] = []
    qrels, triplets = [], []
    for i in range(pairs):
        word = words[i % len(words)] + str(i)
        split = "dev" if i % 6 == 5 else "train"
        documents.append(
            (f"w-d{i}", f"this passage tells about {word}", "words", None, "dev" if split == "dev" else None)
        )
        queries.append((f"w-q{i}", f"what is {word}", "words", split, None))
        qrels.append((f"w-q{i}", f"w-d{i}", 1.0))
        label = ("cat", "dog", "owl")[i % 3]
        documents.append((f"a-d{i}", f"a {label} number {i}", "animals", label, None))
        queries.append((f"a-q{i}", f"some {label} called {i}", "animals", "train", label))
        qrels.append((f"a-q{i}", f"a-d{i}", 1.0))
        triplets.append((f"w-q{i}", f"w-d{i}", 0.9, [f"w-d{(i + k) % pairs}" for k in (1, 2, 3)], [0.5, 0.4, 0.3]))
        others = [(i + k) % pairs for k in (1, 2)]
        triplets.append((f"a-q{i}", f"a-d{i}", 0.8, [f"a-d{j}" for j in others], [0.5, 0.2]))
    write_prepared_tables(
        prepare,
        _frame(documents, ["doc_id", "text", "task", "label", "split"]),
        _frame(queries, ["query_id", "text", "task", "split", "label"]),
        _frame(qrels, ["query_id", "doc_id", "relevance"]),
    )
    write_triplets(outputs, triplets)
    tasks = [
        Task("words", "retrieval", "Find the passage.", False, 1.0, "none", "test"),
        Task("animals", "classification", "Tell the animal.", True, 1.0, "none", "test"),
    ]
    write_tasks(tasks, prepare / "tasks.yaml")
    return outputs


def _frame(rows: list[tuple[Any, ...]], columns: list[str]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=columns, orient="row", infer_schema_length=None)


def write_prepared_tables(prepared: Path, corpus: pl.DataFrame, queries: pl.DataFrame, qrels: pl.DataFrame) -> None:
    """Corpus, queries and qrels by string ids, written as prepare does; columns that may be null may be missing."""
    missing = pl.lit(None, pl.String)
    corpus, queries = (
        number_rows(frame.with_columns(missing.alias(name) for name in names if name not in frame.columns), table)
        for frame, names, table in ((corpus, ("label", "split"), CORPUS), (queries, ("label",), QUERIES))
    )
    write_table(corpus, prepared / "corpus.parquet", CORPUS)
    write_table(queries, prepared / "queries.parquet", QUERIES)
    write_table(name_by_row(qrels, queries, corpus), prepared / "qrels.parquet", QRELS)


def read_prepared_tables(prepared: Path) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """(corpus, queries, qrels) by string ids, for a test to change and to write back."""
    corpus, queries = (pl.read_parquet(prepared / f"{name}.parquet").drop("row") for name in ("corpus", "queries"))
    return corpus, queries, with_ids(pl.read_parquet(prepared / "qrels.parquet"), prepared).drop("query", "document")


def with_ids(frame: pl.DataFrame, prepared: Path) -> pl.DataFrame:
    """Add query_id and doc_id to a table with the rows `query` and `document`."""
    queries, corpus = (pl.read_parquet(prepared / f"{name}.parquet") for name in ("queries", "corpus"))
    return frame.with_columns(
        query_id=queries["query_id"].gather(frame["query"]), doc_id=corpus["doc_id"].gather(frame["document"])
    )


def write_triplets(outputs: Path, rows: list[tuple[str, str, float, list[str], list[float]]]) -> None:
    """outputs/mine/triplets.parquet from (query id, positive id, its score, negative ids, their scores)."""
    places = []
    for table, name in (("queries", "query_id"), ("corpus", "doc_id")):
        ids = pl.read_parquet(outputs / "prepare" / f"{table}.parquet")[name]
        places.append({identity: row for row, identity in enumerate(ids)})
    query, document = places
    numbered = [(query[q], document[p], score, [document[n] for n in own], found) for q, p, score, own, found in rows]
    frame = _frame(numbered, [name for name in TRIPLETS.columns if name != "weight"]).sort("query", "positive")
    write_table(frame, outputs / "mine" / "triplets.parquet", TRIPLETS)
