"""Stage `prepare`: turn fetched sources into training tables (contracts/tables.py) and evaluation tables (held_out.py).

Held-out texts never appear in training: whole groups are held out (splits.py), and training texts that still match an
evaluation text are removed and listed in `decontamination.parquet`.
"""

import json
import logging
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import polars as pl

from components.base.errors import UserError
from components.base.progress import progress
from components.config import TaskParams
from components.contracts.tasks import Task, write_tasks
from components.data import parts
from components.data.decontaminate import METHODS, BenchmarkIndex
from components.data.held_out import held_out_texts, write_benchmark
from components.data.labelled import prepare_labelled
from components.data.mteb_texts import benchmark_texts
from components.data.pairs import prepare_pairs
from components.data.prepared import Prepared
from components.data.shot_pool import log_tasks_without_shots
from components.stage.context import StageContext

log = logging.getLogger(__name__)
LABELLED = ("classification", "clustering")
_SLICE = 1 << 13  # rows whose texts are Python strings at once


def run(context: StageContext) -> dict[str, float]:
    """Prepare every task; returns counts per task. Raises UserError naming the task's key.

    One task is in memory at a time: all are split first, as each is decontaminated against the held-out texts of all.
    """
    tasks, seed = context.config.prepare.tasks, context.config.seed
    sources = context.outputs / "fetch"
    card = _data_card(sources / "data_card.json")
    benchmark: dict[str, str] = {}
    held_out: dict[str, int] = {}  # test rows of the tasks that have any
    for name, params in progress(list(tasks.items()), "prepare", unit="task"):
        rows = prepare_task(name, params, seed, sources / "sources" / f"{params.source}.parquet")
        benchmark |= held_out_texts(name, rows.benchmark)
        write_benchmark(name, rows.benchmark, context.out / "benchmark")
        if rows.benchmark:
            held_out[name] = max(len(table) for key, table in rows.benchmark.items() if key in ("test", "queries"))
        parts.write(rows, context.work, name)
    if context.config.prepare.decontaminate.benchmark:
        benchmark |= benchmark_texts(context.config.prepare.decontaminate.benchmark)
    index = BenchmarkIndex(benchmark, context.config.prepare.decontaminate, context.config.threads)
    del benchmark
    removed: dict[str, pl.DataFrame] = {}
    metrics: dict[str, float] = {}
    for name, params in progress(list(tasks.items()), "decontaminate", unit="task"):
        rows = parts.read(context.work, name)
        removed[name] = decontaminate(rows, index)
        _check(name, params, rows, held_out)
        parts.write(rows, context.work, name)
        metrics |= _counts(name, rows, held_out)
    parts.join(context.work, list(tasks), context.out)
    _write_tasks(context.out, tasks, metrics, held_out, card)
    _log_counts(tasks, metrics, removed)
    counts = {name: int(metrics[f"{name}.train"]) for name in tasks}
    text = json.dumps(manifest(tasks, counts, removed, card), indent=2)
    (context.out / "manifest.json").write_text(text + "\n", encoding="utf-8")
    listed = pl.concat(removed.values()).sort("id")
    listed.write_parquet(context.out / "decontamination.parquet", compression="zstd", statistics=False)
    methods = {f"removed_{method}": float((listed["method"] == method).sum()) for method in METHODS}
    without_shots = float(log_tasks_without_shots(context.out, seed))
    return metrics | {"removed_texts": float(len(listed)), "tasks_without_shots": without_shots} | methods


def _log_counts(tasks: dict[str, TaskParams], metrics: dict[str, float], removed: dict[str, pl.DataFrame]) -> None:
    """Log requested and actual row counts, one line per task."""
    for name, params in tasks.items():
        given = {split: int(metrics[f"{name}.{split}"]) for split in ("train", "dev", "test")}
        counts = ", ".join(
            f"{split} {count:,} ({getattr(params, split):,} requested)" for split, count in given.items()
        )
        documents, methods = int(metrics[f"{name}.documents"]), removed[name]["method"]
        log.info(
            "%s: %s; %s documents; removed %s texts that match an evaluation text%s",
            name,
            counts,
            f"{documents:,}",
            f"{len(methods):,}",
            f" ({', '.join(f'{(methods == one).sum():,} {one}' for one in METHODS)})" if len(methods) else "",
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
    documents = rows.corpus.filter(pl.col("text").ne_missing(pl.col("label")))
    found = index.matches(chain(_texts(documents, "doc_id"), _texts(rows.queries, "query_id")))
    gone = found["id"].implode()
    rows.corpus = rows.corpus.filter(~pl.col("doc_id").is_in(gone))
    rows.qrels = rows.qrels.filter(~pl.col("doc_id").is_in(gone) & ~pl.col("query_id").is_in(gone))
    rows.queries = rows.queries.join(rows.qrels.select("query_id").unique(), on="query_id", how="semi")
    for name in ("own_negatives", "source_scores"):
        pairs: pl.DataFrame = getattr(rows, name)
        left = pairs.filter(~pl.col("doc_id").is_in(gone)).join(rows.queries, on="query_id", how="semi")
        setattr(rows, name, left)
    return found


def _texts(rows: pl.DataFrame, identity: str) -> Iterator[tuple[str, str]]:
    for part in rows.select(identity, "text").iter_slices(_SLICE):
        yield from part.iter_rows()


def _check(name: str, params: TaskParams, rows: Prepared, held_out: Mapping[str, int]) -> None:
    """Raise UserError if a requested split has no rows."""
    found = _split_sizes(rows)
    for split, wanted in (("train", params.train), ("dev", params.dev if params.train else 0)):
        if wanted and not found[split]:
            raise UserError(
                f"prepare.tasks.{name}.{split}: {wanted} requested, but source {params.source!r} has no {split} rows "
                f"left; add rows, or set {split}: 0"
            )
    if params.test and name not in held_out:
        raise UserError(
            f"prepare.tasks.{name}.test: source {params.source!r} has no test rows; add rows or set test: 0"
        )


def _split_sizes(rows: Prepared) -> dict[str, int]:
    return {split: int((rows.queries["split"] == split).sum()) for split in ("train", "dev")}


def _counts(name: str, rows: Prepared, held_out: Mapping[str, int]) -> dict[str, float]:
    sizes = {"documents": len(rows.corpus), **_split_sizes(rows), "test": held_out.get(name, 0)}
    return {f"{name}.{what}": number for what, number in sizes.items()}


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


def _write_tasks(
    out: Path,
    tasks: dict[str, TaskParams],
    metrics: Mapping[str, float],
    held_out: Mapping[str, int],
    card: dict[str, Any],
) -> None:
    listed = {
        name: Task(
            name,
            params.kind,
            params.instruction,
            params.symmetric,
            params.weight,
            card[params.source]["licence"],
            params.source,
            tuple(params.in_domain),
            params.positive_score,
            tuple(params.paraphrases),
        )
        for name, params in tasks.items()
    }
    trained = [task for name, task in listed.items() if metrics[f"{name}.train"] + metrics[f"{name}.dev"]]
    write_tasks(trained, out / "tasks.yaml")
    write_tasks([task for name, task in listed.items() if name in held_out], out / "benchmark" / "tasks.yaml")
