"""Training data: triplets joined with their texts, by task, and the dev data."""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from components.base.errors import UserError
from components.contracts.tables import CORPUS, QRELS, QUERIES, TRIPLETS, read_table
from components.contracts.tasks import Task, read_tasks


@dataclass(frozen=True)
class Example:
    """One training group, by rows: a query, its positive and its mined hard negatives with the teacher's raw scores."""

    query: int
    positive: int
    positive_score: float
    negatives: tuple[int, ...]
    negative_scores: tuple[float, ...]


@dataclass(frozen=True)
class TrainingData:
    """Examples of the train split by task, and the texts, labels and judgements they refer to, by row."""

    tasks: dict[str, Task]
    examples: dict[str, list[Example]]
    query_text: list[str]
    document_text: list[str]
    query_label: list[str | None]
    document_label: list[str | None]
    relevant: dict[int, set[int]]
    grades: dict[tuple[int, int], float]
    dev_queries: dict[str, list[int]]
    dev_documents: dict[str, list[int]]


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
    relevant: dict[int, set[int]] = {}
    for query, document in qrels.select("query", "document").iter_rows():
        relevant.setdefault(query, set()).add(document)
    examples = _examples(outputs / "mine" / "triplets.parquet", queries, len(corpus))
    return TrainingData(
        tasks=tasks,
        examples=examples,
        query_text=queries["text"].to_list(),
        document_text=corpus["text"].to_list(),
        query_label=queries["label"].to_list(),
        document_label=corpus["label"].to_list(),
        relevant=relevant,
        grades={(q, d): grade for q, d, grade in qrels.select("query", "document", "relevance").iter_rows()},
        dev_queries=_rows_by_task(queries.filter(pl.col("split") == "dev")),
        dev_documents=_rows_by_task(corpus.filter(pl.col("split") == "dev")),
    )


def _examples(path: Path, queries: pl.DataFrame, documents: int) -> dict[str, list[Example]]:
    about = queries.select("task", "split").rows()
    examples: dict[str, list[Example]] = {}
    for row, values in enumerate(read_table(path, TRIPLETS).iter_rows()):
        example = Example(values[0], values[1], values[2], tuple(values[3]), tuple(values[4]))
        if example.query >= len(about):
            raise UserError(f"{path}: row {row}: field query: unknown query {example.query}; run mine again")
        for document in (example.positive, *example.negatives):
            if document >= documents:
                raise UserError(f"{path}: row {row}: unknown document {document}; run mine again")
        if len(example.negatives) != len(example.negative_scores):
            raise UserError(f"{path}: row {row}: negatives and negative_scores differ in length; run mine again")
        task, split = about[example.query]
        if split == "train":
            examples.setdefault(task, []).append(example)
    if not examples:
        raise UserError(f"{path}: no triplet of a train query; give a task prepare.tasks.<task>.train > 0")
    return examples


def _rows_by_task(frame: pl.DataFrame) -> dict[str, list[int]]:
    result: dict[str, list[int]] = {}
    for task, row in frame.select("task", "row").iter_rows():
        result.setdefault(task, []).append(row)
    return result
