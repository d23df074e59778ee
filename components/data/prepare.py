"""Stage `prepare`: turn fetched sources into training tables (contracts/tables.py) and evaluation tables (held_out.py).

Held-out texts never appear in training: whole groups are held out (splits.py), and training texts that still match an
evaluation text are removed and listed in `decontamination.parquet`.
"""

import json
import logging
from collections.abc import Iterator, Mapping, Set
from pathlib import Path
from typing import Any

import polars as pl

from components.base.errors import UserError
from components.base.progress import progress
from components.config import TaskParams
from components.contracts.tasks import Task, write_tasks
from components.data import parts
from components.data.account import COPIES_CURE, Account
from components.data.decontaminate import METHODS, BenchmarkIndex
from components.data.held_out import held_out_texts, write_benchmark
from components.data.labelled import prepare_labelled
from components.data.mteb_texts import benchmark_texts
from components.data.pairs import REVERSED, prepare_pairs
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
    accounts: dict[str, Account] = {}
    for name, params in progress(list(tasks.items()), "prepare", unit="task"):
        rows = prepare_task(name, params, seed, sources / "sources" / f"{params.source}.parquet")
        benchmark |= held_out_texts(name, rows.benchmark)
        write_benchmark(name, rows.benchmark, context.out / "benchmark")
        if rows.benchmark:
            held_out[name] = max(len(table) for key, table in rows.benchmark.items() if key in ("test", "queries"))
        accounts[name] = rows.account
        accounts[name].test_rows = held_out.get(name, 0)
        parts.write(rows, context.work, name)
    if context.config.prepare.decontaminate.benchmark:
        benchmark |= benchmark_texts(context.config.prepare.decontaminate.benchmark)
    index = BenchmarkIndex(benchmark, context.config.prepare.decontaminate, context.config.threads)
    del benchmark
    removed: dict[str, pl.DataFrame] = {}
    metrics: dict[str, float] = {}
    for name, params in progress(list(tasks.items()), "decontaminate", unit="task"):
        rows = parts.read(context.work, name)
        before = len(rows.queries)
        removed[name] = decontaminate(rows, index, accounts[name].shared)
        _check_what_is_left(name, params, rows, accounts[name], before, removed[name])
        parts.write(rows, context.work, name)
        metrics |= _counts(name, rows, held_out) | accounts[name].metrics(name)
    parts.join(context.work, list(tasks), context.out)
    _write_tasks(context.out, tasks, metrics, held_out, card)
    _log_counts(accounts, metrics, removed)
    counts = {name: int(metrics[f"{name}.train"]) for name in tasks}
    text = json.dumps(manifest(tasks, counts, removed, card, accounts), indent=2)
    (context.out / "manifest.json").write_text(text + "\n", encoding="utf-8")
    listed = pl.concat(removed.values()).sort("id", "table")
    listed.write_parquet(context.out / "decontamination.parquet", compression="zstd", statistics=False)
    methods = {f"removed_{method}": float((listed["method"] == method).sum()) for method in METHODS}
    without_shots = float(log_tasks_without_shots(context.out, seed))
    return metrics | {"removed_texts": float(len(listed)), "tasks_without_shots": without_shots} | methods


def _log_counts(accounts: dict[str, Account], metrics: dict[str, float], removed: dict[str, pl.DataFrame]) -> None:
    """Log what was asked and given, with the reasons; one line per task."""
    for name, account in accounts.items():
        counts = _by_method(removed[name])
        log.info(
            "%s: %s; %s documents; removed %s texts that match an evaluation text%s",
            name,
            account.line(),
            f"{int(metrics[f'{name}.documents']):,}",
            f"{len(removed[name]):,}",
            f" ({', '.join(f'{count:,} {one}' for one, count in counts.items())})" if len(removed[name]) else "",
        )
        if account.mostly_removed:
            log.warning("%s: more was removed than is left; %s", name, COPIES_CURE)


def _by_method(found: pl.DataFrame) -> dict[str, int]:
    return {one: int((found["method"] == one).sum()) for one in METHODS}


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


def decontaminate(rows: Prepared, index: BenchmarkIndex, shared: Set[str] = frozenset()) -> pl.DataFrame:
    """Remove training rows of one task that match an evaluation text; returns the matches, with their `table`.

    A query that loses its last positive is removed too. Label names are kept, and `shared`: ids of documents that are
    answers in training and in test. Ids of queries and of documents are two spaces: `3` may be in both.
    """
    own = rows.corpus.filter(pl.col("text").ne_missing(pl.col("label")) & ~pl.col("doc_id").is_in(list(shared)))
    documents, queries = index.matches(_texts(own, "doc_id")), index.matches(_texts(rows.queries, "query_id"))
    lost_document = pl.col("doc_id").is_in(documents["id"].implode())
    lost_query = pl.col("query_id").is_in(queries["id"].implode())
    rows.corpus = rows.corpus.filter(~lost_document)
    rows.qrels = rows.qrels.filter(~lost_document & ~lost_query)
    rows.queries = rows.queries.join(rows.qrels.select("query_id").unique(), on="query_id", how="semi")
    for name in ("own_negatives", "source_scores"):
        pairs: pl.DataFrame = getattr(rows, name)
        setattr(rows, name, pairs.filter(~lost_document).join(rows.queries, on="query_id", how="semi"))
    rows.instructions = rows.instructions.join(rows.queries, on="query_id", how="semi")
    tables = {"corpus": documents, "queries": queries}
    return pl.concat([found.with_columns(table=pl.lit(table)) for table, found in tables.items()])


def _texts(rows: pl.DataFrame, identity: str) -> Iterator[tuple[str, str]]:
    for part in rows.select(identity, "text").iter_slices(_SLICE):
        yield from part.iter_rows()


def _check_what_is_left(
    name: str, params: TaskParams, rows: Prepared, account: Account, before: int, removed: pl.DataFrame
) -> None:
    """Count what decontamination left. Raises UserError naming the task's key if a requested split has no rows."""
    account.note(decontaminated=before - len(rows.queries))
    account.given |= _split_sizes(rows.queries.filter(~pl.col("query_id").str.ends_with(REVERSED)))
    for split, wanted in account.asked.items():
        if wanted and not account.given[split]:
            raise UserError(
                f"prepare.tasks.{name}.{split}: {wanted:,} requested, and source {params.source!r} gives none: "
                f"{account.refusal(split, _by_method(removed))}"
            )


def _split_sizes(queries: pl.DataFrame) -> dict[str, int]:
    return {split: int((queries["split"] == split).sum()) for split in ("train", "dev")}


def _counts(name: str, rows: Prepared, held_out: Mapping[str, int]) -> dict[str, float]:
    sizes = {"documents": len(rows.corpus), **_split_sizes(rows.queries), "test": held_out.get(name, 0)}
    return {f"{name}.{what}": number for what, number in sizes.items()}


def manifest(
    tasks: dict[str, TaskParams],
    train: dict[str, int],
    removed: dict[str, pl.DataFrame],
    card: dict[str, Any],
    accounts: Mapping[str, Account],
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
            **accounts[name].listed(),
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
