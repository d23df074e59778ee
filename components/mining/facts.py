"""Input of the rules: facts of each candidate, for some queries of one task at a time."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from components.base.errors import UserError
from components.config import MineParams
from components.contracts.tables import CORPUS, QUERIES, id_of_row, name_of_row, read_task
from components.contracts.texts import Texts
from components.data.inputs import Inputs
from components.mining.copies import near_duplicates
from components.mining.sketches import Sketches, hash_texts, sketch_texts


@dataclass(frozen=True)
class Stored:
    """Location of the texts: the folder of stage `prepare`, and its two columns `text` as memory-mapped files."""

    prepared: Path
    queries: Texts
    documents: Texts

    @classmethod
    def of(cls, prepared: Path, cache: Path) -> "Stored":
        """The files of texts are made below `cache` unless another stage has made them."""
        return cls(prepared, *(Texts.of_table(prepared / f"{name}.parquet", cache) for name in ("queries", "corpus")))


@dataclass(frozen=True)
class TaskTexts:
    """Queries and documents of one task; the documents are a range of rows, so row - first row is a document's place in
    each array. Texts stay on disk."""

    name: str
    queries: pl.DataFrame  # row, split, label
    corpus: pl.DataFrame  # row, label
    first_document: int
    query_hashes: np.ndarray  # uint64 [queries], of the normalised texts
    documents: Sketches
    stored: Stored

    @classmethod
    def of(cls, inputs: Inputs, task: str, threads: int, stored: Stored) -> "TaskTexts":
        """Take the task's rows and sketch its texts."""
        queries, corpus = (
            frame.filter(pl.col("task") == task).select(columns)
            for frame, columns in ((inputs.queries, ["row", "split"]), (inputs.corpus, ["row"]))
        )
        first = int(corpus["row"][0])
        asked, found = (
            read_task(stored.prepared / f"{name}.parquet", table, task, ["row", "label"])
            for name, table in (("queries", QUERIES), ("corpus", CORPUS))
        )
        rows = queries["row"].to_numpy().astype(np.int64)
        return cls(
            task,
            queries.join(asked, on="row", how="left", maintain_order="left"),
            found,
            first,
            hash_texts(lambda places: stored.queries.take(rows[places]), len(rows)),
            sketch_texts(lambda places: stored.documents.take(first + places), len(corpus), threads),
            stored,
        )

    def query_places(self, rows: pl.Series) -> np.ndarray:
        """int64: place of each query row."""
        return np.searchsorted(self.queries["row"].to_numpy(), rows.to_numpy())

    def document_places(self, rows: pl.Series) -> np.ndarray:
        """int64: place of each document row."""
        return rows.to_numpy().astype(np.int64) - self.first_document

    def query(self, row: int) -> str:
        """Text of a query."""
        return self.stored.queries.take([row])[0]

    def document(self, row: int) -> tuple[str, str]:
        """(id, text) of a document."""
        identity = id_of_row(self.stored.prepared / "corpus.parquet", row)
        return str(identity), self.stored.documents.take([row])[0]

    def read_documents(self, places: np.ndarray) -> list[str]:
        """Texts of the documents at these places."""
        return self.stored.documents.take(self.first_document + places)

    def text_pairs(self, pairs: pl.DataFrame) -> list[tuple[str, str]]:
        """(query text, document text) of each row of query, document."""
        sides = ((self.stored.queries, "query"), (self.stored.documents, "document"))
        return list(zip(*(texts.take(pairs[column].to_numpy()) for texts, column in sides), strict=True))


def positive_values(scores: pl.DataFrame, qrels: pl.DataFrame, prepared: Path, file: str) -> pl.DataFrame:
    """query, document, relevance, score, value of every judged pair that is trained.

    In graded tasks (sts) that includes pairs of grade 0 and less, which are no positives for the rules.

    Raises:
        UserError: the teacher did not score one.
    """
    found = scores.select("query", "document", "value", score="reranker_score")
    positives = qrels.select("query", "document", "relevance").join(found, on=["query", "document"], how="left")
    unscored = positives.filter(pl.col("score").is_null())
    if len(unscored):
        row, wanted = unscored.sort("query", "document").select("query", "document").row(0)
        query = name_of_row(prepared / "queries.parquet", row)
        document = name_of_row(prepared / "corpus.parquet", wanted)
        raise UserError(f"{file}: no score for positive {document} of query {query}; run the score stage again")
    return positives.sort("query", "document")


def gather_facts(
    scores: pl.DataFrame,
    positives: pl.DataFrame,
    own_negatives: pl.DataFrame,
    texts: TaskTexts,
    params: MineParams,
    pool: ThreadPoolExecutor,
) -> pl.DataFrame:
    """Input of the rules: one row per candidate except positives; sorted by query, document.

    Args:
        scores: whole queries of one task, with `value`. positives, own_negatives: those of these queries.

    Columns: query, document, task, split, score, value, rank, weakest, own, same_label, same_as_query, duplicate.
    """
    own = own_negatives.select("query", "document", own=pl.lit(params.own_negatives != "ignore"))
    right = positives.filter(pl.col("relevance") > 0)
    weakest = right.group_by("query").agg(weakest=pl.col("value").min())
    scores = scores.join(own, on=["query", "document"], how="left", maintain_order="left")
    scores = scores.with_columns(pl.col("own").fill_null(False))
    ranked = scores.filter(pl.col("fused_score").is_not_null() | pl.col("own")).with_columns(
        rank=pl.col("fused_score").rank("ordinal", descending=True).over("query").cast(pl.Int64)
    )
    candidates = (
        ranked.select("query", "document", "value", "rank", "own", score="reranker_score")
        .join(positives, on=["query", "document"], how="anti")
        .join(weakest, on="query")
    )
    query, document = texts.query_places(candidates["query"]), texts.document_places(candidates["document"])
    asked = texts.queries.select("split", "label")[query]
    label = texts.corpus["label"].gather(document)
    copies = _copies(candidates, right, texts, params, pool)
    return (
        candidates.with_columns(
            task=pl.lit(texts.name),
            split=asked["split"],
            same_label=(asked["label"] == label).fill_null(False),
            same_as_query=pl.Series(texts.query_hashes[query] == texts.documents.equal[document], dtype=pl.Boolean),
        )
        .join(copies, on=["query", "document"], how="left")
        .sort("query", "document")
    )


def _copies(
    candidates: pl.DataFrame, positives: pl.DataFrame, texts: TaskTexts, params: MineParams, pool: ThreadPoolExecutor
) -> pl.DataFrame:
    """query, document, duplicate: the overlap of candidates that copy a positive of their query."""
    compared = candidates.select("query", "document").join(positives.select("query", positive="document"), on="query")
    compared = compared.with_columns(
        left=pl.Series(texts.document_places(compared["positive"])),
        right=pl.Series(texts.document_places(compared["document"])),
    )
    left, right = compared["left"].to_numpy(), compared["right"].to_numpy()
    limits = {"trigrams": params.near_duplicate, "long_words": params.same_words}
    found = near_duplicates(left, right, texts.read_documents, texts.documents, limits, pool)
    return (
        compared.join(found, on=["left", "right"]).group_by("query", "document").agg(duplicate=pl.col("overlap").max())
    )
