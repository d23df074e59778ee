"""Training data: triplets joined with their texts, by task, and the dev data."""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from components.base.errors import UserError
from components.contracts.tables import CORPUS, QRELS, QUERIES, TRIPLETS, read_table
from components.contracts.tasks import Task, read_tasks


@dataclass(frozen=True)
class Example:
    """One training group: a query, its positive and its mined hard negatives with the teacher's raw scores."""

    query_id: str
    positive_id: str
    positive_score: float
    negative_ids: tuple[str, ...]
    negative_scores: tuple[float, ...]


@dataclass(frozen=True)
class TrainingData:
    """Examples of the train split by task, and the texts, labels and judgements they refer to."""

    tasks: dict[str, Task]
    examples: dict[str, list[Example]]
    query_text: dict[str, str]
    document_text: dict[str, str]
    query_label: dict[str, str | None]
    document_label: dict[str, str | None]
    relevant: dict[str, set[str]]
    grades: dict[tuple[str, str], float]
    dev_queries: dict[str, list[str]]
    dev_documents: dict[str, list[str]]


def load_training_data(outputs: Path) -> TrainingData:
    """Read the tables that prepare and mine wrote.

    Raises:
        UserError: a table breaks its contract, a triplet names an unknown query or document, a list of negatives and
            its list of scores differ in length, or no task has a training example.
    """
    corpus = read_table(outputs / "prepare" / "corpus.parquet", CORPUS)
    queries = read_table(outputs / "prepare" / "queries.parquet", QUERIES)
    qrels = read_table(outputs / "prepare" / "qrels.parquet", QRELS)
    tasks = read_tasks(outputs / "prepare" / "tasks.yaml")
    relevant: dict[str, set[str]] = {}
    for query_id, doc_id in qrels.select("query_id", "doc_id").iter_rows():
        relevant.setdefault(query_id, set()).add(doc_id)
    document_text = dict(corpus.select("doc_id", "text").iter_rows())
    examples = _examples(outputs / "mine" / "triplets.parquet", queries, document_text)
    return TrainingData(
        tasks=tasks,
        examples=examples,
        query_text=dict(queries.select("query_id", "text").iter_rows()),
        document_text=document_text,
        query_label=dict(queries.select("query_id", "label").iter_rows()),
        document_label=dict(corpus.select("doc_id", "label").iter_rows()),
        relevant=relevant,
        grades={(q, d): grade for q, d, grade in qrels.select("query_id", "doc_id", "relevance").iter_rows()},
        dev_queries=_by_task(queries.filter(pl.col("split") == "dev"), "query_id"),
        dev_documents=_by_task(corpus.filter(pl.col("split") == "dev"), "doc_id"),
    )


def _examples(path: Path, queries: pl.DataFrame, document_text: dict[str, str]) -> dict[str, list[Example]]:
    about = {row[0]: (row[1], row[2]) for row in queries.select("query_id", "task", "split").iter_rows()}
    examples: dict[str, list[Example]] = {}
    for row, values in enumerate(read_table(path, TRIPLETS).iter_rows()):
        example = Example(values[0], values[1], values[2], tuple(values[3]), tuple(values[4]))
        if example.query_id not in about:
            raise UserError(f"{path}: row {row}: field query_id: unknown query {example.query_id!r}; run mine again")
        for doc_id in (example.positive_id, *example.negative_ids):
            if doc_id not in document_text:
                raise UserError(f"{path}: row {row}: unknown document {doc_id!r}; run mine again")
        if len(example.negative_ids) != len(example.negative_scores):
            raise UserError(f"{path}: row {row}: negative_ids and negative_scores differ in length; run mine again")
        task, split = about[example.query_id]
        if split == "train":
            examples.setdefault(task, []).append(example)
    if not examples:
        raise UserError(f"{path}: no triplet of a train query; give a task prepare.tasks.<task>.train > 0")
    return examples


def _by_task(frame: pl.DataFrame, column: str) -> dict[str, list[str]]:
    result: dict[str, list[str]] = {}
    for task, value in frame.select("task", column).iter_rows():
        result.setdefault(task, []).append(value)
    return result
