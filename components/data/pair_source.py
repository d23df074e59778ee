"""A pair source: its distinct queries and documents, judgements, and the groups for the split."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import polars as pl

from components.base.errors import UserError
from components.config import TaskParams
from components.data.assign import Pool
from components.data.distinct import DistinctTexts
from components.data.splits import Edges, Group, divide, groups, sort_by_hash

# In these kinds documents are class names or texts of the same class; only the queries are held out.
SHARED_DOCUMENTS = ("classification", "clustering")
_LOOSE = "\0"  # before the key of a group with a query that some row of its did not join to a document
_GROUPS = 1 << 13  # whose texts are in memory at once


class PairSource:
    """Distinct queries and documents of a source, by number, with the scores of judged pairs.

    In retrieval only positives connect queries: a negative is an ordinary corpus document, and mined negatives would
    connect everything. Where judged documents are evaluated themselves (reranking, pairs), all judgements connect.
    """

    def __init__(self, name: str, rows: pl.DataFrame, params: TaskParams) -> None:
        pairs = pair_rows(rows, params)
        self.name, self.kind = name, params.kind
        self.queries = DistinctTexts(pairs["query"], pairs.get_column("query_id", default=None), params.max_words)
        self.documents = DistinctTexts(pairs["document"], pairs.get_column("doc_id", default=None), params.max_words)
        self._threshold = params.positive_score
        self._shared = params.kind in SHARED_DOCUMENTS
        self._graded = params.kind == "sts"
        query, document = self.queries.numbers, self.documents.numbers
        score = pairs["score"].to_numpy()
        relevant = self.are_positive(score)
        joined = self._joined(params.kind, query, document, relevant)
        self._edges = Edges(query, joined, pairs["split"].to_list(), self.queries.same, self.documents.same)
        self._loose = np.zeros(len(self.queries), dtype=bool)
        self._loose[query[(query >= 0) & (joined < 0)]] = True
        given = pairs.get_column("teacher_score", default=pl.Series([None] * len(pairs), dtype=pl.Float64))
        self._judge(query, document, score, given)
        label = pairs["label"]
        self.query_labels = _first_labels(query, label, len(self.queries))
        self.document_labels = _first_labels(
            np.where(relevant & (query >= 0), document, -1), label, len(self.documents)
        )

        asked = pairs.get_column("instruction", default=pl.Series([None] * len(pairs), dtype=pl.String))
        self.instructions = _first_labels(query, asked, len(self.queries))
        self.further_instructions = _count_further(query, asked, self.instructions)

    def _joined(self, kind: str, query: np.ndarray, document: np.ndarray, relevant: np.ndarray) -> np.ndarray:
        """By row, the document that belongs to the group of the row's query; -1 if it need not."""
        joins = np.zeros(len(query), dtype=bool) if self._shared else relevant | (kind != "retrieval")
        return np.where(joins | (query < 0), document, -1)

    def _judge(self, query: np.ndarray, document: np.ndarray, score: np.ndarray, given: pl.Series) -> None:
        """Keep the best score of each pair: of query q from `_start[q]` to `_start[q + 1]`, in source order; and the
        first of the source's own teacher scores, NaN where it has none."""
        judged = (
            pl.DataFrame({"query": query, "document": document, "score": score, "given": given})
            .with_row_index("row")
            .filter(pl.col("query") >= 0)
            .group_by("query", "document")
            .agg(
                pl.col("row").min(),
                pl.col("score").max(),
                pl.col("given").drop_nulls().first(),
                several=pl.col("score").min() < pl.col("score").max(),
            )
            .sort("query", "row")
        )
        self._start = np.searchsorted(judged["query"].to_numpy(), np.arange(len(self.queries) + 1))
        self.repeated_rows = int((query >= 0).sum()) - len(judged)
        self.other_grades = int(judged["several"].sum())
        self._judged, self._scores = judged["document"].to_numpy(), judged["score"].to_numpy()
        self._given = judged["given"].to_numpy()

    def count_overruled(self, pool: Pool) -> int:
        """Queries that do not get the split that the source states."""
        return self._edges.count_overruled(pool.groups)

    def pool(self, seed: int, source: str, divided: Sequence[Group] = ()) -> Pool:
        """Connected groups of the source in hash order; those of `divided` are divided by query."""
        apart = {id(group) for group in divided}
        found: list[Group] = []
        for group in self._groups:
            found += divide(group, self._edges, self._positives_of) if id(group) in apart else [group]
        if self._useless:
            found = [group for group in found if not group.queries or not self._useless.issuperset(group.queries)]
        keys = [key for start in range(0, len(found), _GROUPS) for key in self._keys(found[start : start + _GROUPS])]
        return Pool(sort_by_hash(found, keys, seed, source), self.unfit)

    @cached_property
    def _groups(self) -> list[Group]:
        return groups(self._edges)

    @cached_property
    def unfit(self) -> dict[str, frozenset[int]]:
        """By split, the queries that it has no use for: training learns from pairs, and a ranking needs a positive."""
        query = np.repeat(np.arange(len(self.queries)), np.diff(self._start))
        positives = np.bincount(query[self.are_positive(self._scores)], minlength=len(self.queries))
        trained = np.bincount(query[self.are_trained(self._scores)], minlength=len(self.queries))
        learnt = _numbers(trained == 0)
        tested = _numbers(np.diff(self._start) == 0)
        if self.kind == "retrieval":
            tested = _numbers(positives == 0)
        if self.kind == "reranking":  # a query needs at least one negative to be ranked
            tested = _numbers((positives == 0) | (positives == np.diff(self._start)))
        return {"train": learnt, "dev": learnt, "test": tested}

    @cached_property
    def stated(self) -> dict[str, int]:
        """Queries by the split that the source states for them."""
        return self._edges.count_stated()

    @cached_property
    def _useless(self) -> frozenset[int]:
        return self.unfit["train"] & self.unfit["test"]

    def _positives_of(self, queries: list[int]) -> list[int]:
        _, documents, scores = self.pairs_of(np.array(queries, dtype=np.int64))
        return ordered_unique(documents[self.are_positive(scores)]).tolist()

    def _keys(self, found: Sequence[Group]) -> list[str]:
        """Of each group, the alphabetically first key of its texts; loose queries come before all others."""
        chosen = [[one for one in group.queries if self._loose[one]] or group.queries for group in found]
        pairs = zip(chosen, found, strict=True)
        loose = [bool(own) and (bool(self._loose[own[0]]) or group.divided) for own, group in pairs]
        documents = [[] if alone else group.documents for group, alone in zip(found, loose, strict=True)]
        keys = iter(self.queries.keys([one for own in chosen for one in own]))
        more = iter(self.documents.keys([one for own in documents for one in own]))
        return [
            (_LOOSE if alone else "") + min([*(next(keys) for _ in own), *(next(more) for _ in its)])
            for own, its, alone in zip(chosen, documents, loose, strict=True)
        ]

    def documents_of(self, found: list[Group]) -> np.ndarray:
        """Numbers of the documents in these groups."""
        if self._shared:
            return self.judged_for(query_numbers(found))
        documents = np.array([one for group in found for one in group.documents], dtype=np.int64)
        return ordered_unique(documents) if any(group.divided for group in found) else documents

    def pairs_of(self, queries: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(query, document, score) of every pair judged for these queries, in their order."""
        query, rows = self._rows_of(queries)
        return query, self._judged[rows], self._scores[rows]

    def teacher_scores_of(self, queries: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(query, document, score) of every pair of these queries with a teacher score of the source's own."""
        query, rows = self._rows_of(queries)
        there = ~np.isnan(self._given[rows])
        return query[there], self._judged[rows][there], self._given[rows][there]

    def _rows_of(self, queries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(query, place in `_judged`) of every pair judged for these queries, in their order."""
        number = self._start[queries + 1] - self._start[queries]
        position = np.arange(int(number.sum())) - np.repeat(np.cumsum(number) - number, number)
        return np.repeat(queries, number), np.repeat(self._start[queries], number) + position

    def judged_for(self, queries: np.ndarray) -> np.ndarray:
        """Numbers of all documents judged for these queries, including negatives, each once."""
        return ordered_unique(self.pairs_of(queries)[1])

    def are_positive(self, scores: np.ndarray) -> np.ndarray:
        """Whether scores are at or above `positive_score`."""
        return scores > 0 if self._threshold is None else scores >= self._threshold

    def are_trained(self, scores: np.ndarray) -> np.ndarray:
        """Whether training reads pairs of these scores: the positives, and in sts without positive_score every pair.

        CoSENT ranks pairs by their own grades, and learns as much from the least similar ones.
        """
        every = self._graded and self._threshold is None
        return np.ones(len(scores), dtype=bool) if every else self.are_positive(scores)

    def relevance(self, scores: np.ndarray) -> np.ndarray:
        """The grades of qrels. Only sts has a use for a grade of 0 or less; a positive has 1 in its place."""
        return scores if self._graded else np.where(scores > 0, scores, 1.0)

    def judged(self, query: int) -> dict[int, float]:
        """Scores of the documents judged for a query, by number."""
        part = slice(self._start[query], self._start[query + 1])
        return dict(zip(self._judged[part].tolist(), self._scores[part].tolist(), strict=True))

    def positives(self, query: int) -> list[int]:
        """Numbers of the documents that are relevant to a query."""
        _, documents, scores = self.pairs_of(np.array([query]))
        return documents[self.are_positive(scores)].tolist()

    def query_rows(self, numbers: np.ndarray, split: str) -> pl.DataFrame:
        """Rows of queries as in prepared.py."""
        columns = {"query_id": self.query_names(numbers), "text": self.queries.series(numbers)}
        return pl.DataFrame({**columns, "label": self.query_labels.gather(numbers)}).with_columns(split=pl.lit(split))

    def document_rows(self, numbers: np.ndarray, split: str | None) -> pl.DataFrame:
        """Rows of the corpus as in prepared.py."""
        columns = {"doc_id": self.document_names(numbers), "text": self.documents.series(numbers)}
        held_out = pl.lit(split, dtype=pl.String)
        return pl.DataFrame({**columns, "label": self.document_labels.gather(numbers)}).with_columns(split=held_out)

    def query_names(self, numbers: Sequence[int] | np.ndarray) -> pl.Series:
        """Ids of queries in our tables."""
        return self.queries.names(numbers, f"{self.name}-q")

    def document_names(self, numbers: Sequence[int] | np.ndarray) -> pl.Series:
        """Ids of documents in our tables."""
        return self.documents.names(numbers, f"{self.name}-d")


def _numbers(chosen: np.ndarray) -> frozenset[int]:
    return frozenset(np.flatnonzero(chosen).tolist())


def _first_labels(numbers: np.ndarray, labels: pl.Series, size: int) -> pl.Series:
    """By number, the first label that is not null among its rows; rows of number -1 do not count."""
    found = (
        pl.DataFrame({"number": numbers, "label": labels})
        .filter((pl.col("number") >= 0) & pl.col("label").is_not_null())
        .unique("number", keep="first", maintain_order=True)
    )
    every = pl.DataFrame({"number": np.arange(size, dtype=np.int64)})
    return every.join(found, on="number", how="left", maintain_order="left")["label"]


def _count_further(numbers: np.ndarray, values: pl.Series, first: pl.Series) -> int:
    """Rows that give a text another value than its first."""
    if values.null_count() == len(values):
        return 0
    known = pl.Series(numbers).set(pl.Series(numbers < 0), 0)
    return int(((values != first.gather(known)) & pl.Series(numbers >= 0)).sum())


def pair_rows(rows: pl.DataFrame, params: TaskParams) -> pl.DataFrame:
    """Rows of any pair source as query, document, score, label, split [, query_id, doc_id]."""
    columns = set(rows.columns)
    if {"query", "document"} <= columns:
        pairs = rows.with_columns(score=_score(columns, params))
    elif {"text1", "text2"} <= columns:
        pairs = rows.select(query="text1", document="text2", score=_score(columns, params), **_split(columns))
    elif {"text", "correct", "incorrect"} <= columns:
        halves = [
            rows.select(query="text", document=column, score=pl.lit(score), **_split(columns)).with_row_index("row")
            for column, score in (("correct", 1.0), ("incorrect", 0.0))
        ]
        pairs = pl.concat(halves).sort("row", maintain_order=True).drop("row")
    else:
        raise UserError(f"has {', '.join(rows.columns)}; kind {params.kind} needs query and document (or text1, text2)")
    missing = [name for name in ("label", "split") if name not in pairs.columns]
    return pairs.with_columns(pl.lit(None, dtype=pl.String).alias(name) for name in missing)


def _score(columns: set[str], params: TaskParams) -> pl.Expr:
    if "score" in columns:
        return pl.col("score").cast(pl.Float64).fill_null(1.0)
    if params.kind == "sts" or (params.kind == "pair_classification" and params.test):
        raise UserError(f"has {', '.join(sorted(columns))}; kind {params.kind} needs a score for each pair")
    return pl.lit(1.0)


def _split(columns: set[str]) -> dict[str, pl.Expr]:
    return {"split": pl.col("split")} if "split" in columns else {}


def query_numbers(found: list[Group]) -> np.ndarray:
    """Numbers of the queries of these groups."""
    return np.array([query for group in found for query in group.queries], dtype=np.int64)


def ordered_unique(numbers: np.ndarray) -> np.ndarray:
    """Each number once, in order of first appearance."""
    _, first = np.unique(numbers, return_index=True)
    return numbers[np.sort(first)]
