"""Stage `prepare`: turn fetched sources into training tables (contracts/tables.py) and evaluation tables (held_out.py).

Held-out texts never appear in training: whole groups are held out (splits.py), and training texts that still match an
evaluation text are removed and listed in `decontamination.parquet`.
"""

import json
import logging
from pathlib import Path
from typing import Any

import polars as pl

from components.base.errors import UserError
from components.base.progress import progress
from components.config import TaskParams
from components.contracts.tables import CORPUS, QRELS, QUERIES, name_by_row, number_rows, write_table
from components.contracts.tasks import Task, write_tasks
from components.data.decontaminate import BenchmarkIndex
from components.data.held_out import held_out_texts, write_benchmark
from components.data.labelled import prepare_labelled
from components.data.mteb_texts import benchmark_texts
from components.data.pairs import prepare_pairs
from components.data.prepared import Prepared
from components.stage.context import StageContext

_SCHEMAS: dict[str, dict[str, pl.DataType]] = {
    **{
        name: {column: pl.String() for column in table.columns if column != "row"}
        for name, table in (("corpus", CORPUS), ("queries", QUERIES))
    },
    "qrels": {"query_id": pl.String(), "doc_id": pl.String(), "relevance": pl.Float64()},
}
log = logging.getLogger(__name__)
LABELLED = ("classification", "clustering")


def run(context: StageContext) -> dict[str, float]:
    """Prepare every task; returns counts per task. Raises UserError naming the task's key."""
    tasks, seed = context.config.prepare.tasks, context.config.seed
    sources = context.outputs / "fetch"
    card = _data_card(sources / "data_card.json")
    prepared = {
        name: prepare_task(name, params, seed, sources / "sources" / f"{params.source}.parquet")
        for name, params in progress(list(tasks.items()), "prepare", unit="task")
    }
    benchmark: dict[str, str] = {}
    for name, rows in prepared.items():
        benchmark |= held_out_texts(name, rows.benchmark)
    if context.config.prepare.decontaminate.benchmark:
        benchmark |= benchmark_texts(context.config.prepare.decontaminate.benchmark)
    index = BenchmarkIndex(benchmark, context.config.prepare.decontaminate)
    removed = [decontaminate(rows, index) for rows in progress(list(prepared.values()), "decontaminate", unit="task")]
    for name, params in tasks.items():
        _check(name, params, prepared[name])
    metrics = _write(context.out, tasks, prepared, card)
    counts = {name: int(metrics[f"{name}.train"]) for name in tasks}
    _log_counts(tasks, metrics, dict(zip(prepared, removed, strict=True)))
    text = json.dumps(manifest(tasks, counts, dict(zip(prepared, removed, strict=True)), card), indent=2)
    (context.out / "manifest.json").write_text(text + "\n", encoding="utf-8")
    listed = pl.concat(removed).sort("id")
    listed.write_parquet(context.out / "decontamination.parquet", compression="zstd", statistics=False)
    return metrics | {"removed_texts": len(listed)}


def _log_counts(tasks: dict[str, TaskParams], metrics: dict[str, float], removed: dict[str, pl.DataFrame]) -> None:
    """Log requested and actual row counts, one line per task."""
    for name, params in tasks.items():
        given = {split: int(metrics[f"{name}.{split}"]) for split in ("train", "dev", "test")}
        counts = ", ".join(
            f"{split} {count:,} ({getattr(params, split):,} requested)" for split, count in given.items()
        )
        documents, copies = int(metrics[f"{name}.documents"]), len(removed[name])
        log.info(
            "%s: %s; %s documents; removed %s texts that match an evaluation text",
            name,
            counts,
            f"{documents:,}",
            f"{copies:,}",
        )


def _data_card(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise UserError(f"{path}: missing; run the fetch stage (dvc repro)")
    return json.loads(path.read_text(encoding="utf-8"))["sources"]


def prepare_task(name: str, params: TaskParams, seed: int, source: Path) -> Prepared:
    """Prepare the rows of one task from its source. Raises UserError naming the task's key."""
    key = f"prepare.tasks.{name}"
    if not source.is_file():
        raise UserError(f"{key}.source: unknown source {params.source!r}; declare it under fetch.sources")
    rows = pl.read_parquet(source)
    pairs = params.kind not in LABELLED or "query" in rows.columns
    try:
        return (prepare_pairs if pairs else prepare_labelled)(name, rows, params, seed)
    except UserError as problem:
        raise UserError(f"{key}: source {params.source}: {problem}") from None


def decontaminate(rows: Prepared, index: BenchmarkIndex) -> pl.DataFrame:
    """Remove training rows of one task that match an evaluation text; returns the matches.

    A query that loses its last positive is removed too. Label names are kept.
    """
    training = {row["doc_id"]: row["text"] for row in rows.corpus if row["text"] != row["label"]}
    training |= {row["query_id"]: row["text"] for row in rows.queries}
    found = index.matches(training)
    gone = set(found["id"])
    rows.corpus = [row for row in rows.corpus if row["doc_id"] not in gone]
    rows.qrels = [row for row in rows.qrels if row["doc_id"] not in gone and row["query_id"] not in gone]
    answered = {row["query_id"] for row in rows.qrels}
    rows.queries = [row for row in rows.queries if row["query_id"] in answered]
    return found


def _check(name: str, params: TaskParams, rows: Prepared) -> None:
    """Raise UserError if a requested split has no rows."""
    found = {split: sum(row["split"] == split for row in rows.queries) for split in ("train", "dev")}
    for split, wanted in (("train", params.train), ("dev", params.dev if params.train else 0)):
        if wanted and not found[split]:
            raise UserError(
                f"prepare.tasks.{name}.{split}: {wanted} requested, but source {params.source!r} has no {split} rows "
                f"left; add rows, or set {split}: 0"
            )
    if params.test and not rows.benchmark:
        raise UserError(
            f"prepare.tasks.{name}.test: source {params.source!r} has no test rows; add rows or set test: 0"
        )


def manifest(
    tasks: dict[str, TaskParams], train: dict[str, int], removed: dict[str, pl.DataFrame], card: dict[str, Any]
) -> dict[str, Any]:
    """Training data manifest: source and size of each task, and the in-domain share per evaluation task.

    A training task is in-domain for every mteb task in its `in_domain`, and for each held-out task on its source.
    """
    about = {
        name: {
            "source": params.source,
            **{key: card[params.source].get(key) for key in ("version", "sha256", "licence")},
            "train_queries": train[name],
            "removed_texts": len(removed[name]),
            "in_domain": params.in_domain,
        }
        for name, params in tasks.items()
    }
    domains: dict[str, list[str]] = {}
    for name, params in tasks.items():
        held_out = [other for other, its in tasks.items() if its.test and its.source == params.source]
        for evaluated in dict.fromkeys([*held_out, *params.in_domain]) if train[name] else []:
            domains.setdefault(evaluated, []).append(name)
    total = max(1, sum(train.values()))
    shares = {
        evaluated: {"training_tasks": names, "share": round(sum(train[name] for name in names) / total, 6)}
        for evaluated, names in sorted(domains.items())
    }
    return {"tasks": about, "in_domain": shares}


def _write(
    out: Path, tasks: dict[str, TaskParams], prepared: dict[str, Prepared], card: dict[str, Any]
) -> dict[str, float]:
    rows: dict[str, list[dict[str, Any]]] = {"corpus": [], "queries": [], "qrels": []}
    listed: list[tuple[Task, bool, bool]] = []
    metrics: dict[str, float] = {}
    for name, params in tasks.items():
        one = prepared[name]
        rows["corpus"] += [{**row, "task": name} for row in one.corpus]
        rows["queries"] += [{**row, "task": name} for row in one.queries]
        rows["qrels"] += one.qrels
        write_benchmark(name, one.benchmark, out / "benchmark")
        licence = card[params.source]["licence"]
        task = Task(name, params.kind, params.instruction, params.symmetric, params.weight, licence, params.source)
        listed.append((task, bool(one.queries), bool(one.benchmark)))
        metrics[f"{name}.documents"] = len(one.corpus)
        for split in ("train", "dev"):
            metrics[f"{name}.{split}"] = sum(row["split"] == split for row in one.queries)
        metrics[f"{name}.test"] = max(
            (len(table) for key, table in one.benchmark.items() if key in ("test", "queries")), default=0
        )
    frames = {file: pl.DataFrame(rows[file], schema=schema) for file, schema in _SCHEMAS.items()}
    corpus, queries = number_rows(frames["corpus"], CORPUS), number_rows(frames["queries"], QUERIES)
    write_table(corpus, out / "corpus.parquet", CORPUS)
    write_table(queries, out / "queries.parquet", QUERIES)
    write_table(name_by_row(frames["qrels"], queries, corpus), out / "qrels.parquet", QRELS)
    write_tasks([task for task, train, _ in listed if train], out / "tasks.yaml")
    write_tasks([task for task, _, test in listed if test], out / "benchmark" / "tasks.yaml")
    return metrics
