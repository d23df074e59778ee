"""Inputs of retrieval, scoring and mining: training and dev queries, their positives, and the corpus.

Test queries are dropped here, so no stage that selects training data sees them.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import polars as pl

from components.base.errors import UserError
from components.contracts.tables import CORPUS, OWN_NEGATIVES, QRELS, QUERIES, name_of_row, read_table

NEGATIVES = {"query": pl.UInt32, "document": pl.UInt32}


@dataclass(frozen=True)
class Inputs:
    """Tables of stage `prepare` for tasks with train or dev queries; each sorted by its rows.

    corpus: row, doc_id, text, task, label, split. queries: row, query_id, text, task, split, label. qrels: query,
    document (rows), relevance. own_negatives: query, document; what the source itself judges irrelevant. Without texts,
    corpus and queries have row, task and split only.
    """

    corpus: pl.DataFrame
    queries: pl.DataFrame
    qrels: pl.DataFrame
    own_negatives: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=NEGATIVES))

    @cached_property
    def positives(self) -> pl.DataFrame:
        """The rows of qrels that are relevant: sts has judged pairs of grade 0 and less too."""
        return self.qrels.filter(pl.col("relevance") > 0)

    @property
    def tasks(self) -> list[str]:
        """Names of the tasks with training or dev queries, sorted."""
        return sorted(self.queries["task"].unique().to_list())

    def pools(self, task: str) -> Iterator["Pool"]:
        """Queries of a task and the documents to search for them, by split.

        Training queries never search held-out documents, so none becomes a training negative; dev queries search all
        documents of their task.
        """
        corpus = self.corpus.filter(pl.col("task") == task)
        for split in ("dev", "train"):
            queries = self.queries.filter((pl.col("task") == task) & (pl.col("split") == split))
            if len(queries):
                allowed = corpus if split == "dev" else corpus.filter(pl.col("split").is_null())
                yield Pool(f"{task}, {split}", queries, allowed)


@dataclass(frozen=True)
class Pool:
    """Queries of one task and split, and the documents to search for them."""

    name: str
    queries: pl.DataFrame
    corpus: pl.DataFrame


def read_inputs(prepared: Path, texts: bool = True) -> Inputs:
    """Read outputs/prepare; without texts, labels and ids where `texts` is False.

    Raises:
        UserError: no training or dev query, a task's corpus is empty, a query without a positive, or a positive that is
            missing from its task's corpus.
    """
    columns = None if texts else ("row", "task", "split")
    queries = read_table(prepared / "queries.parquet", QUERIES, columns).filter(pl.col("split") != "test")
    if queries.is_empty():
        raise UserError(f"{prepared / 'queries.parquet'}: no train or dev query; set prepare.tasks.*.train above 0")
    corpus = read_table(prepared / "corpus.parquet", CORPUS, columns)
    trainable = corpus.filter(pl.col("split").is_null())
    for task, split in queries.select("task", "split").unique().sort("task", "split").rows():
        if (corpus if split == "dev" else trainable).filter(pl.col("task") == task).is_empty():
            file = prepared / "corpus.parquet"
            raise UserError(f"{file}: field task: no document of {task!r} for its {split} queries; its corpus is empty")
    corpus = corpus.filter(pl.col("task").is_in(queries["task"].unique().to_list()))
    qrels = read_table(prepared / "qrels.parquet", QRELS)
    qrels = qrels.join(queries, left_on="query", right_on="row", how="semi", maintain_order="left")
    _check_positives(queries, corpus, qrels, prepared / "qrels.parquet")
    own = prepared / "own_negatives.parquet"  # written where a source has any
    negatives = read_table(own, OWN_NEGATIVES) if own.is_file() else pl.DataFrame(schema=NEGATIVES)
    negatives = negatives.join(queries, left_on="query", right_on="row", how="semi", maintain_order="left")
    return Inputs(corpus, queries, qrels, negatives)


def _check_positives(queries: pl.DataFrame, corpus: pl.DataFrame, qrels: pl.DataFrame, file: Path) -> None:
    bare = queries.join(qrels, left_on="row", right_on="query", how="anti")
    if len(bare):
        query = name_of_row(file.with_name("queries.parquet"), bare["row"][0])
        raise UserError(f"{file}: field query: query {query} has no positive; add one or drop it")
    owners = qrels.join(queries.select("task", "split", query="row"), on="query")
    open_to = pl.col("document_split").is_null() | (pl.col("split") == "dev")
    documents = corpus.select("task", document="row", document_split="split")
    there = owners.join(documents, on=["document", "task"]).filter(open_to)
    corpus_file = file.with_name("corpus.parquet")
    lost = owners.join(there, on=["query", "document"], how="anti").sort("query", "document")
    if len(lost):
        row, found, task = lost.select("query", "document", "task").row(0)
        query, document = name_of_row(file.with_name("queries.parquet"), row), name_of_row(corpus_file, found)
        raise UserError(
            f"{file}: field document: positive {document} of query {query} is missing from the corpus of {task!r} "
            "(or held out from a training query); add the document or remove the row"
        )
