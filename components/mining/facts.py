"""What the rules look at: facts of each candidate, for the queries of one task, some of them at a time."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import polars as pl

from components.base.errors import UserError
from components.config import MineParams
from components.data.inputs import Inputs
from components.mining.copies import near_duplicates
from components.mining.sketches import Sketches, hash_texts, sketch_texts


@dataclass(frozen=True)
class TaskTexts:
    """Queries and documents of one task; the documents are a range of rows, so
    row - first row is a document's place in each array."""

    name: str
    queries: pl.DataFrame
    corpus: pl.DataFrame
    first_document: int
    query_hashes: np.ndarray  # uint64 [queries], of the normalised texts
    documents: Sketches

    @classmethod
    def of(cls, inputs: Inputs, task: str, threads: int) -> "TaskTexts":
        """Take the task's rows and sketch its texts."""
        queries, corpus = (
            frame.lazy().filter(pl.col("task") == task).select(columns).collect()
            for frame, columns in (
                (inputs.queries, ["row", "text", "split", "label"]),
                (inputs.corpus, ["row", "doc_id", "text", "label"]),
            )
        )
        return cls(
            task,
            queries,
            corpus,
            int(corpus["row"][0]),
            hash_texts(queries["text"]),
            sketch_texts(corpus["text"], threads),
        )

    def query_places(self, rows: pl.Series) -> np.ndarray:
        """int64: place of each query row."""
        return np.searchsorted(self.queries["row"].to_numpy(), rows.to_numpy())

    def document_places(self, rows: pl.Series) -> np.ndarray:
        """int64: place of each document row."""
        return rows.to_numpy().astype(np.int64) - self.first_document

    def query(self, row: int) -> str:
        """Text of a query."""
        return str(self.queries["text"][int(self.query_places(pl.Series([row]))[0])])

    def document(self, row: int) -> tuple[str, str]:
        """(id, text) of a document."""
        place = row - self.first_document
        return str(self.corpus["doc_id"][place]), str(self.corpus["text"][place])

    def text_pairs(self, pairs: pl.DataFrame) -> list[tuple[str, str]]:
        """(query text, document text) of each row of query, document."""
        asked = self.queries["text"].gather(self.query_places(pairs["query"])).to_list()
        found = self.corpus["text"].gather(self.document_places(pairs["document"])).to_list()
        return list(zip(asked, found, strict=True))


def positive_values(scores: pl.DataFrame, qrels: pl.DataFrame, inputs: Inputs, file: str) -> pl.DataFrame:
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
        query = inputs.queries.row(by_predicate=pl.col("row") == row, named=True)["query_id"]
        document = inputs.corpus.row(by_predicate=pl.col("row") == wanted, named=True)["doc_id"]
        raise UserError(f"{file}: no score for positive {document!r} of query {query!r}; run the score stage again")
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
    found = near_duplicates(left, right, texts.corpus["text"], texts.documents, limits, pool)
    return (
        compared.join(found, on=["left", "right"]).group_by("query", "document").agg(duplicate=pl.col("overlap").max())
    )
