"""A pair source: its distinct queries and documents, judgements, and the edges for the split."""

from collections.abc import Iterator

import polars as pl

from components.base.errors import UserError
from components.base.overlap import normalise
from components.config import TaskParams
from components.data.prepared import Row, cut_words
from components.data.splits import Group, groups, sort_by_hash

# In these kinds documents are class names or texts of the same class; only the queries are held out.
SHARED_DOCUMENTS = ("classification", "clustering")
LOOSE = "\0"  # key prefix of a placeholder document, for a query that must not be grouped with others


class PairSource:
    """Distinct queries and documents of a source, with the scores of judged pairs.

    In retrieval only positives connect queries: a negative is an ordinary corpus document, and mined negatives would
    connect everything. Where judged documents are evaluated themselves (reranking, pairs), all judgements connect.
    """

    def __init__(self, name: str, rows: pl.DataFrame, params: TaskParams) -> None:
        self.name = name
        self.queries: dict[str, Row] = {}  # key -> id, text
        self.documents: dict[str, Row] = {}
        self.judged: dict[str, dict[str, float]] = {}  # query key -> document key -> score
        self._threshold = params.positive_score
        self._shared = params.kind in SHARED_DOCUMENTS
        self._graded = params.kind == "sts"
        self._edges: list[tuple[str | None, str, str | None]] = []
        for row in pair_rows(rows, params):
            self._add(row, params)

    def _add(self, row: Row, params: TaskParams) -> None:
        document = _entered(self.documents, row["document"], row.get("doc_id"), f"{self.name}-d", params.max_words)
        if row["query"] is None:
            self._edges.append((None, document, None))
            return
        query = _entered(self.queries, row["query"], row.get("query_id"), f"{self.name}-q", params.max_words)
        judged = self.judged.setdefault(query, {})
        judged[document] = max(row["score"], judged.get(document, row["score"]))
        if row.get("label") is not None:
            self.queries[query].setdefault("label", row["label"])
            if self.is_positive(row["score"]):
                self.documents[document].setdefault("label", row["label"])
        joins = not self._shared and (params.kind != "retrieval" or self.is_positive(row["score"]))
        self._edges.append((query, document if joins else f"{LOOSE}{query}", row.get("split")))

    def pool(self, seed: int, source: str) -> list[Group]:
        """Connected groups of the source in hash order."""
        return sort_by_hash(groups(self._edges), seed, source)

    def documents_of(self, found: list[Group]) -> list[str]:
        """Keys of the documents in these groups."""
        if self._shared:
            return self.judged_for(found)
        return [key for group in found for key in group.documents if not key.startswith(LOOSE)]

    def judged_for(self, found: list[Group]) -> list[str]:
        """Keys of all documents judged for the queries of these groups, including negatives."""
        return list(dict.fromkeys(key for query in query_keys(found) for key in self.judged[query]))

    def is_positive(self, score: float) -> bool:
        """Whether a score is at or above `positive_score`."""
        return score > 0 if self._threshold is None else score >= self._threshold

    def grades(self, query: str) -> dict[str, float]:
        """Relevance by document key of the pairs that a query is trained on: its positives.

        In sts without positive_score these are all judged pairs: CoSENT ranks pairs by their own grades, and learns as
        much from the least similar ones. Other kinds have no use for a grade of 0 or less.
        """
        keys = self.judged[query] if self._graded and self._threshold is None else self.positives(query)
        scores = {key: self.judged[query][key] for key in keys}
        return scores if self._graded else {key: score if score > 0 else 1.0 for key, score in scores.items()}

    def positives(self, query: str) -> list[str]:
        """Keys of the documents that are relevant to a query."""
        return [document for document, score in self.judged[query].items() if self.is_positive(score)]


def _entered(known: dict[str, Row], text: str, identity: str | None, prefix: str, words: int | None) -> str:
    """Key of a text, added if new. Raises UserError if the id is known with another text."""
    text = cut_words(text, words)
    key = identity if identity is not None else normalise(text, punctuation=True)
    name = f"{prefix[:-1]}{identity}" if identity is not None else f"{prefix}{len(known):06d}"
    entry = known.setdefault(key, {"id": name, "text": text})
    if identity is not None and entry["text"] != text:
        raise UserError(f"duplicate id {identity!r} with two texts; ids must be unique")
    return key


def pair_rows(rows: pl.DataFrame, params: TaskParams) -> Iterator[Row]:
    """Rows of any pair source as query, document, score [, ids, split]."""
    columns = set(rows.columns)
    for row in rows.iter_rows(named=True):
        if {"query", "document"} <= columns:
            score = row.get("score")
            yield {**row, "score": 1.0 if score is None else score}
        elif {"text1", "text2"} <= columns:
            yield {"query": row["text1"], "document": row["text2"], "score": row["score"], "split": row.get("split")}
        elif {"text", "correct", "incorrect"} <= columns:
            yield {"query": row["text"], "document": row["correct"], "score": 1.0, "split": row.get("split")}
            yield {"query": row["text"], "document": row["incorrect"], "score": 0.0, "split": row.get("split")}
        else:
            raise UserError(
                f"has {', '.join(rows.columns)}; kind {params.kind} needs query and document (or text1, text2)"
            )


def query_keys(found: list[Group]) -> list[str]:
    """Keys of the queries of these groups."""
    return [query for group in found for query in group.queries]
