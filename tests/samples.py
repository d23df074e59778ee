"""Small parameters and tables for tests of any room, and a still garbage collector."""

import copy
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from components.contracts.tables import CORPUS, QRELS, QUERIES, TRIPLETS, write_table
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
    _write(documents, prepare / "corpus.parquet", CORPUS)
    _write(queries, prepare / "queries.parquet", QUERIES)
    _write(qrels, prepare / "qrels.parquet", QRELS)
    _write(triplets, outputs / "mine" / "triplets.parquet", TRIPLETS)
    tasks = [
        Task("words", "retrieval", "Find the passage.", False, 1.0, "none", "test"),
        Task("animals", "classification", "Tell the animal.", True, 1.0, "none", "test"),
    ]
    write_tasks(tasks, prepare / "tasks.yaml")
    return outputs


def _write(rows: list[tuple[Any, ...]], path: Path, table: Any) -> None:
    write_table(pl.DataFrame(rows, schema=list(table.columns), orient="row", infer_schema_length=None), path, table)
