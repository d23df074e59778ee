"""Starter benchmark: the `prepare` stage's held-out data as mteb tasks of all seven categories.

Each entry of outputs/prepare/benchmark/tasks.yaml becomes a subclass of mteb's own task class with one `TaskMetadata`;
only `load_data` is ours, because the data are Parquet files and not a hub repository. mteb does all the scoring.

The tables and their columns are described in components/data/held_out.py.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
from datasets import Dataset, DatasetDict
from mteb.abstasks import (
    AbsTaskClassification,
    AbsTaskClustering,
    AbsTaskPairClassification,
    AbsTaskRetrieval,
    AbsTaskSTS,
)
from mteb.abstasks.abstask import AbsTask
from mteb.abstasks.task_metadata import TaskMetadata
from mteb.abstasks.text.summarization import AbsTaskSummarization
from mteb.types import PromptType

from components.base.errors import UserError
from components.base.hashing import file_hash
from components.contracts.tasks import Task, read_tasks

CLUSTERING_SAMPLE = 2_048  # documents drawn for each of the 10 k-means runs; mteb's 16,384 suits its larger sets


@dataclass(frozen=True)
class Kind:
    """mteb's names and classes for one of our task kinds."""

    base: type[AbsTask]
    type: str
    main_score: str
    tables: Mapping[str, tuple[str, ...]]  # table -> columns it must have
    attributes: dict[str, Any] = field(default_factory=dict)


_RANKING = {
    "corpus": ("doc_id", "text"),
    "queries": ("query_id", "text"),
    "qrels": ("query_id", "doc_id", "relevance"),
}
_LABELLED = {"test": ("text", "label")}
_PAIRS = {"test": ("text1", "text2", "score")}
_SIDES = {"input1_prompt_type": PromptType.query, "input2_prompt_type": PromptType.document}
KINDS = {
    "retrieval": Kind(AbsTaskRetrieval, "Retrieval", "ndcg_at_10", _RANKING),
    "reranking": Kind(
        AbsTaskRetrieval, "Reranking", "map_at_1000", {**_RANKING, "candidates": ("query_id", "doc_ids")}
    ),
    "classification": Kind(
        AbsTaskClassification, "Classification", "accuracy", {"train": ("text", "label"), **_LABELLED}
    ),
    "clustering": Kind(
        AbsTaskClustering,
        "Clustering",
        "v_measure",
        _LABELLED,
        {"max_fraction_of_documents_to_embed": None, "max_documents_per_cluster": CLUSTERING_SAMPLE},
    ),
    "pair_classification": Kind(AbsTaskPairClassification, "PairClassification", "max_ap", _PAIRS, _SIDES),
    "sts": Kind(AbsTaskSTS, "STS", "cosine_spearman", _PAIRS, _SIDES),
    "summarization": Kind(
        AbsTaskSummarization,
        "Summarization",
        "cosine_spearman",
        {"test": ("text", "human_summary", "machine_summaries", "relevance")},
    ),
}
# our column -> the column mteb's class reads
_COLUMNS = {
    "classification": {},
    "clustering": {"text": "sentences", "label": "labels"},
    "pair_classification": {"text1": "sentence1", "text2": "sentence2", "score": "labels"},
    "sts": {"text1": "sentence1", "text2": "sentence2"},
    "summarization": {"human_summary": "human_summaries"},
}


def starter_tasks(folder: Path) -> list[type[AbsTask]]:
    """One mteb task class per entry of `folder`/tasks.yaml.

    Raises:
        UserError: no benchmark in the folder, an entry of unknown kind, a file missing or without a column.
    """
    return [_task_class(task, folder) for task in read_tasks(folder / "tasks.yaml").values()]


def starter_task(folder: Path, name: str) -> AbsTask:
    """A fresh object of the task `name`; a plain function, so that another process can call it."""
    return _task_class(read_tasks(folder / "tasks.yaml")[name], folder)()


def _task_class(task: Task, folder: Path) -> type[AbsTask]:
    if task.kind not in KINDS:
        raise UserError(f"{folder}/tasks.yaml: task {task.name}: kind {task.kind!r} is none of {', '.join(KINDS)}")
    kind = KINDS[task.kind]
    paths = {table: folder / f"{task.name}.{table}.parquet" for table in kind.tables}
    for table, columns in kind.tables.items():
        _check(paths[table], columns)
    body = {
        "__doc__": f"Held-out part of {task.source}.",
        "__module__": __name__,
        "metadata": _metadata(task, kind, paths),
        "load_data": _loader(task.kind, paths),
        **kind.attributes,
        **_score_range(task.kind, paths),
    }
    return type(task.name, (kind.base,), body)


def _check(path: Path, columns: tuple[str, ...]) -> None:
    if not path.is_file():
        raise UserError(f"{path}: missing; run the prepare stage (dvc repro prepare)")
    present = pl.read_parquet_schema(path)
    missing = [column for column in columns if column not in present]
    if missing:
        raise UserError(f"{path}: field {missing[0]} is missing; expected {', '.join(columns)}")


def _metadata(task: Task, kind: Kind, paths: dict[str, Path]) -> TaskMetadata:
    revision = "-".join(file_hash(path)[:8] for path in paths.values())
    return TaskMetadata(
        name=task.name,
        description=f"Held-out part of {task.source} ({task.licence})",
        dataset={"path": f"embedding-foundry/{task.name}", "revision": revision},
        type=kind.type,  # type: ignore[arg-type]  # mteb's Literal of task types
        category="t2t",
        eval_splits=["test"],
        eval_langs=["eng-Latn"],
        main_score=kind.main_score,
        prompt=task.instruction,
    )


def _loader(kind: str, paths: dict[str, Path]) -> Callable[..., None]:
    def load_data(self: AbsTask, num_proc: int | None = None, **kwargs: Any) -> None:
        if self.data_loaded:
            return
        if kind in ("retrieval", "reranking"):
            self.dataset = {"default": {"test": _ranking_data(paths)}}
        else:
            tables = {table: _rows(kind, path) for table, path in paths.items()}
            self.dataset = {"default": DatasetDict(_numbered(tables) if kind == "classification" else tables)}
        self.data_loaded = True

    return load_data


def _rows(kind: str, path: Path) -> Dataset:
    rows = pl.read_parquet(path).rename(_COLUMNS[kind])
    if kind == "summarization":  # mteb expects a list of human summaries; we have one
        rows = rows.with_columns(pl.col("human_summaries").reshape((-1, 1)).arr.to_list())
    if kind == "pair_classification":
        rows = rows.with_columns(pl.col("labels").cast(pl.Int64))
    return Dataset(rows.to_arrow())


def _numbered(tables: dict[str, Dataset]) -> dict[str, Dataset]:
    """Labels as numbers, the same in each table: sklearn's average precision rejects two classes named by strings."""
    names = sorted({label for table in tables.values() for label in table["label"]})
    number = {name: i for i, name in enumerate(names)}
    return {
        name: Dataset.from_dict({"text": table["text"], "label": [number[label] for label in table["label"]]})
        for name, table in tables.items()
    }


def _ranking_data(paths: dict[str, Path]) -> dict[str, Any]:
    relevant: dict[str, dict[str, int]] = {}
    for query, document, relevance in pl.read_parquet(paths["qrels"])["query_id", "doc_id", "relevance"].iter_rows():
        relevant.setdefault(query, {})[document] = max(1, round(relevance))
    candidates = None
    if "candidates" in paths:
        candidates = dict(pl.read_parquet(paths["candidates"])["query_id", "doc_ids"].iter_rows())
    return {
        "corpus": Dataset(pl.read_parquet(paths["corpus"])["doc_id", "text"].rename({"doc_id": "id"}).to_arrow()),
        "queries": Dataset(pl.read_parquet(paths["queries"])["query_id", "text"].rename({"query_id": "id"}).to_arrow()),
        "relevant_docs": relevant,
        "top_ranked": candidates,
    }


def _score_range(kind: str, paths: dict[str, Path]) -> dict[str, Any]:
    """Range of the gold scores: mteb maps them to [0, 1] by the range that a task class declares."""
    if kind not in ("sts", "summarization"):
        return {}
    column = "score" if kind == "sts" else "relevance"
    values = pl.read_parquet(paths["test"], columns=[column])[column]
    values = values.explode() if values.dtype.is_nested() else values
    return {"min_score": values.min(), "max_score": values.max()}
