"""Sources of pairs (query, document, score) -> training rows and held-out evaluation rows of one task."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from components.config import TaskParams
from components.data.splits import Group, groups, normal, shuffled, take, take_last
from components.errors import UserError

Row = dict[str, Any]


@dataclass
class Prepared:
    """What one task gives: contract rows, and the tables of its held-out evaluation by name."""

    corpus: list[Row] = field(default_factory=list)
    queries: list[Row] = field(default_factory=list)
    qrels: list[Row] = field(default_factory=list)
    benchmark: dict[str, pl.DataFrame] = field(default_factory=dict)


def cut(text: str, words: int | None) -> str:
    """The first `words` words of a text; the text as it is when it has no more."""
    parts = text.split()
    return text if words is None or len(parts) <= words else " ".join(parts[:words])


# Texts of one class have its name, or each other, for documents: there, only the queries are held out.
SHARED_DOCUMENTS = ("classification", "clustering")
_LOOSE = "\0"  # starts the key of a stand-in document, for a query that is to join no other


class PairSource:
    """The distinct queries and documents of a source, and which goes with which.

    In retrieval only positives tie queries together: a negative is a document like any other of the corpus, and mined
    ones would join everything. Where judged documents are themselves evaluated (reranking, pairs), they all do.
    """

    def __init__(self, name: str, rows: pl.DataFrame, params: TaskParams) -> None:
        self.name = name
        self.queries: dict[str, Row] = {}  # key -> id, text
        self.documents: dict[str, Row] = {}
        self.judged: dict[str, dict[str, float]] = {}  # query key -> document key -> score
        self._threshold = params.positive_score
        self._shared = params.kind in SHARED_DOCUMENTS
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
        self._edges.append((query, document if joins else f"{_LOOSE}{query}", row.get("split")))

    def pool(self, seed: int, source: str) -> list[Group]:
        """The source's groups in hash order."""
        return shuffled(groups(self._edges), seed, source)

    def documents_of(self, found: list[Group]) -> list[str]:
        """Keys of the documents that these groups hold."""
        if self._shared:
            return self.judged_for(found)
        return [key for group in found for key in group.documents if not key.startswith(_LOOSE)]

    def judged_for(self, found: list[Group]) -> list[str]:
        """Keys of all documents judged for the queries of these groups, negatives too."""
        return list(dict.fromkeys(key for query in query_keys(found) for key in self.judged[query]))

    def is_positive(self, score: float) -> bool:
        """Whether a pair with this score belongs together."""
        return score > 0 if self._threshold is None else score >= self._threshold

    def positives(self, query: str) -> list[str]:
        """Keys of the documents that are relevant to a query."""
        return [document for document, score in self.judged[query].items() if self.is_positive(score)]


def _entered(known: dict[str, Row], text: str, identity: str | None, prefix: str, words: int | None) -> str:
    """Key of a text, entered when new. The same id with another text is refused."""
    text = cut(text, words)
    key = identity if identity is not None else normal(text)
    name = f"{prefix[:-1]}{identity}" if identity is not None else f"{prefix}{len(known):06d}"
    entry = known.setdefault(key, {"id": name, "text": text})
    if identity is not None and entry["text"] != text:
        raise UserError(f"duplicate id {identity!r} with two texts; ids must be unique")
    return key


def pair_rows(rows: pl.DataFrame, params: TaskParams) -> Iterator[Row]:
    """Rows of any pair-like source as query, document, score [, ids, split]."""
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


def prepare_pairs(name: str, rows: pl.DataFrame, params: TaskParams, seed: int) -> Prepared:
    """Split a source of pairs; see the contracts for the training rows and benchmark.py for the evaluation tables."""
    from components.data.benchmark import pair_benchmark

    source = PairSource(name, rows, params)
    pool = source.pool(seed, params.source)
    test, dev = take(pool, "test", params.test), take(pool, "dev", params.dev)
    test_documents = _with_hard(source, test, pool, params.test_documents)
    dev_documents = _with_hard(source, dev, pool, params.dev_documents)
    train = take_last(pool, "train", params.train)
    unpaired = [group for group in pool if not group.queries and group.pinned in (None, "train")]
    done = Prepared()
    if params.train:
        held_out = {*test_documents, *dev_documents} if params.kind not in SHARED_DOCUMENTS else set()
        found = [*source.documents_of([*train, *unpaired]), *source.judged_for(train)]
        documents = {key: None for key in found if key not in held_out}
        _add_split(done, source, train, list(documents), "train")
        _add_split(done, source, dev, [key for key in dev_documents if key not in documents], "dev")
        if params.symmetric:
            _add_reversed(done)
    if test:
        done.benchmark = pair_benchmark(params.kind, source, query_keys(test), test_documents)
    return done


def query_keys(found: list[Group]) -> list[str]:
    """Keys of the queries of these groups."""
    return [query for group in found for query in group.queries]


def _with_hard(source: PairSource, found: list[Group], pool: list[Group], least: int) -> list[str]:
    """Documents of held-out groups, filled up to `least` with hard ones whose groups leave the pool."""
    own = source.documents_of(found)
    queries = query_keys(found)
    missing = least - len(own)
    if missing <= 0 or not queries:
        return own
    from components.data.hard import hard_documents

    owner = {key: group for group in pool if group.pinned in (None, "train") for key in group.documents}
    keys = [key for key in owner if not key.startswith(_LOOSE) and key not in set(own)]
    answers = {key: [source.documents[one]["text"] for one in source.positives(key)] for key in queries}
    asked = [(source.queries[key]["text"], answers[key]) for key in queries]
    chosen = hard_documents(asked, [source.documents[key]["text"] for key in keys], missing)
    hard = [keys[index] for index in chosen]
    gone = {id(owner[key]) for key in hard}
    pool[:] = [group for group in pool if id(group) not in gone]
    return own + hard


def _add_split(done: Prepared, source: PairSource, found: list[Group], documents: list[str], split: str) -> None:
    held_out = None if split == "train" else split
    for key in documents:
        entry = source.documents[key]
        row = {"doc_id": entry["id"], "text": entry["text"], "label": entry.get("label"), "split": held_out}
        done.corpus.append(row)
    present = {row["doc_id"] for row in done.corpus}
    for query in query_keys(found):
        entry = source.queries[query]
        scores = {source.documents[key]["id"]: source.judged[query][key] for key in source.positives(query)}
        scores = {document: score for document, score in scores.items() if document in present}
        if scores:
            row = {"query_id": entry["id"], "text": entry["text"], "split": split, "label": entry.get("label")}
            done.queries.append(row)
        for document, score in scores.items():
            relevance = score if score > 0 else 1.0
            done.qrels.append({"query_id": entry["id"], "doc_id": document, "relevance": relevance})


def _add_reversed(done: Prepared) -> None:
    """Every training pair the other way round too: a symmetric task has no side of its own for documents."""
    queries = {row["query_id"]: row for row in done.queries if row["split"] == "train"}
    documents = {row["doc_id"]: row for row in done.corpus}
    new: tuple[dict[str, Row], dict[str, Row]] = ({}, {})
    for pair in [pair for pair in done.qrels if pair["query_id"] in queries]:
        query, document = queries[pair["query_id"]], documents[pair["doc_id"]]
        ids = {"query_id": f"{document['doc_id']}-reversed", "doc_id": f"{query['query_id']}-reversed"}
        new[0][ids["query_id"]] = {**document, "query_id": ids["query_id"], "split": "train"}
        new[1][ids["doc_id"]] = {**query, "doc_id": ids["doc_id"], "split": None}
        done.qrels.append({**ids, "relevance": pair["relevance"]})
    columns = ("text", "label", "split")
    done.queries += [{"query_id": key, **{name: row[name] for name in columns}} for key, row in new[0].items()]
    done.corpus += [{"doc_id": key, **{name: row[name] for name in columns}} for key, row in new[1].items()]
