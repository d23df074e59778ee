"""Training data: examples by task as arrays of row numbers, their texts and labels, and the dev data."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import polars as pl

from components.base.errors import UserError
from components.contracts.tables import CORPUS, INSTRUCTIONS, QRELS, QUERIES, TRIPLETS, read_table
from components.contracts.tasks import Task, read_tasks
from components.contracts.texts import Texts
from components.training.judgements import Judgements


class TextsByRow(Protocol):
    """Texts of one table, read by row; `identity` differs for other texts; `hashes` are uint64 by row."""

    @property
    def identity(self) -> str: ...

    def take(self, rows: np.ndarray) -> list[str]: ...

    def hashes(self) -> np.ndarray: ...


@dataclass(frozen=True)
class Examples:
    """Training groups of one task: a query, its positive and its mined hard negatives with the teacher's raw scores.

    Group i has the negatives from place starts[i] to starts[i + 1].
    """

    query: np.ndarray  # uint32 [n], rows of queries.parquet
    positive: np.ndarray  # uint32 [n], rows of corpus.parquet
    positive_score: np.ndarray  # float64 [n]
    starts: np.ndarray  # int64 [n + 1]
    weight: np.ndarray  # float64 [n], of the positive's loss
    negatives: np.ndarray  # uint32 [sum], rows of corpus.parquet
    negative_scores: np.ndarray  # float64 [sum]

    def __len__(self) -> int:
        return len(self.query)

    def slice(self, start: int, stop: int) -> "Examples":
        """The groups of a range; nothing is copied."""
        first, last = self.starts[start], self.starts[stop]
        return Examples(
            self.query[start:stop],
            self.positive[start:stop],
            self.positive_score[start:stop],
            self.starts[start : stop + 1] - first,
            self.weight[start:stop],
            self.negatives[first:last],
            self.negative_scores[first:last],
        )

    def take(self, places: np.ndarray) -> "Examples":
        """The groups at these places."""
        sizes = (self.starts[1:] - self.starts[:-1])[places]
        starts = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
        rows = np.repeat(self.starts[places] - starts[:-1], sizes) + np.arange(starts[-1])
        return Examples(
            self.query[places],
            self.positive[places],
            self.positive_score[places],
            starts,
            self.weight[places],
            self.negatives[rows],
            self.negative_scores[rows],
        )


@dataclass(frozen=True)
class TrainingData:
    """Examples of the train split by task, and the texts, labels and judgements they refer to, by row.

    Labels are numbers, places in `labels`, and so are the instructions that queries have of their own; -1 = none.
    """

    tasks: dict[str, Task]
    examples: dict[str, Examples]
    query_text: TextsByRow
    document_text: TextsByRow
    query_label: np.ndarray  # int32 [queries]
    document_label: np.ndarray  # int32 [documents]
    labels: list[str]
    judgements: Judgements
    dev_queries: dict[str, np.ndarray]
    dev_documents: dict[str, np.ndarray]
    query_instruction: np.ndarray | None = None  # int32 [queries]; None: no query has one of its own
    instructions: Sequence[str] = ()

    def own_instructions(self, queries: np.ndarray) -> np.ndarray:
        """int32: place in `instructions` of each query's own instruction, -1 = none."""
        none = np.full(len(queries), -1, dtype=np.int32)
        return none if self.query_instruction is None else self.query_instruction[queries]


def load_training_data(outputs: Path, cache: Path) -> TrainingData:
    """Read the tables that prepare and mine wrote. Texts stay in a memory-mapped file, made below `cache`.

    Raises:
        UserError: a table breaks its contract, a triplet names an unknown query or document, a list of negatives and
            its list of scores differ in length, or no task has a training example.
    """
    prepared = outputs / "prepare"
    about = ["row", "task", "split", "label"]
    corpus = read_table(prepared / "corpus.parquet", CORPUS, about)
    queries = read_table(prepared / "queries.parquet", QUERIES, about)
    labels = pl.Enum(pl.concat([corpus["label"], queries["label"]]).drop_nulls().unique().sort())
    file = outputs / "mine" / "triplets.parquet"
    triplets = read_table(file, TRIPLETS)
    _check_rows(triplets, file, len(queries), len(corpus))
    return TrainingData(
        tasks=read_tasks(prepared / "tasks.yaml"),
        examples=_examples(triplets, queries, file),
        query_text=Texts.of_table(prepared / "queries.parquet", cache),
        document_text=Texts.of_table(prepared / "corpus.parquet", cache),
        query_label=_numbered(queries["label"], labels),
        document_label=_numbered(corpus["label"], labels),
        labels=labels.categories.to_list(),
        judgements=Judgements.of_table(_judged(read_table(prepared / "qrels.parquet", QRELS), triplets)),
        dev_queries=_rows_by_task(queries.filter(pl.col("split") == "dev")),
        dev_documents=_rows_by_task(corpus.filter(pl.col("split") == "dev")),
        **_instructions(prepared / "instructions.parquet", len(queries)),
    )


def _instructions(file: Path, queries: int) -> dict[str, Any]:
    """Of prepare's table, which is there where a source brings instructions."""
    if not file.is_file():
        return {}
    table = read_table(file, INSTRUCTIONS)
    names = table["instruction"].unique().sort().to_list()
    places = np.full(queries, -1, dtype=np.int32)
    places[table["query"].to_numpy()] = table["instruction"].cast(pl.Enum(names)).to_physical().to_numpy()
    return {"query_instruction": places, "instructions": names}


def _judged(qrels: pl.DataFrame, triplets: pl.DataFrame) -> pl.DataFrame:
    """qrels and the positives that mine relabelled, which are no negatives of their query in any batch either."""
    positives = triplets.select("query", document="positive")
    new = positives.join(qrels, on=["query", "document"], how="anti").with_columns(relevance=pl.lit(1.0))
    return pl.concat([qrels, new]).sort("query", "document") if len(new) else qrels


def _examples(table: pl.DataFrame, queries: pl.DataFrame, path: Path) -> dict[str, Examples]:
    table = table.with_columns(queries["task"].gather(table["query"]), queries["split"].gather(table["query"]))
    table = table.filter(pl.col("split") == "train")
    if table.is_empty():
        raise UserError(f"{path}: no triplet of a train query; give a task prepare.tasks.<task>.train > 0")
    whole = _as_arrays(table)
    runs = table.select(pl.col("task").rle()).unnest("task")  # sorted by query, and those by task
    bounds = itertools.pairwise([0, *np.cumsum(runs["len"].to_numpy()).tolist()])
    return {task: whole.slice(*own) for task, own in zip(runs["value"], bounds, strict=True)}


def _as_arrays(table: pl.DataFrame) -> Examples:
    sizes = table["negatives"].list.len().to_numpy()
    filled = table.filter(pl.col("negatives").list.len() > 0)  # explode would make a null of an empty list
    return Examples(
        table["query"].to_numpy(),
        table["positive"].to_numpy(),
        table["positive_score"].to_numpy(),
        np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)]),
        table["weight"].fill_null(1.0).to_numpy(),
        filled["negatives"].explode().to_numpy(),
        filled["negative_scores"].explode().to_numpy(),
    )


def _check_rows(table: pl.DataFrame, path: Path, queries: int, documents: int) -> None:
    unknown = "row {row}: field query: unknown query {query}"
    checks = {
        unknown: pl.col("query") >= queries,
        "row {row}: unknown document {positive}": pl.col("positive") >= documents,
        "row {row}: unknown document {most}": pl.col("most") >= documents,
        "row {row}: negatives and negative_scores differ in length": pl.col("negatives").list.len()
        != pl.col("negative_scores").list.len(),
    }
    numbered = table.lazy().with_row_index("row").with_columns(most=pl.col("negatives").list.max())
    for message, wrong in checks.items():
        found = numbered.filter(wrong.fill_null(False)).select("row", "query", "positive", "most").head(1).collect()
        if len(found):
            raise UserError(f"{path}: {message.format(**found.row(0, named=True))}; run mine again")


def _numbered(labels: pl.Series, known: pl.Enum) -> np.ndarray:
    return labels.cast(known).to_physical().cast(pl.Int32).fill_null(-1).to_numpy()


def _rows_by_task(frame: pl.DataFrame) -> dict[str, np.ndarray]:
    return {str(task): own["row"].to_numpy() for (task,), own in frame.group_by("task", maintain_order=True)}
