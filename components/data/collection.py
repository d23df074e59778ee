"""Reader for retrieval collections in BEIR layout: a folder with corpus, queries and qrels.

A document's title is prepended to its text, as in BEIR and mteb.
"""

from collections.abc import Iterator
from typing import Any

from components.base.errors import UserError
from components.config import SourceParams
from components.data.cells import Raw, is_null, read_text
from components.data.origins import Files
from components.data.table_files import jsonl_rows, parquet_rows
from components.data.text_files import COMPRESSIONS


def read_collection(files: Files, params: SourceParams) -> Iterator[Raw]:
    """A folder with corpus, queries and qrels (.jsonl or .parquet): doc_id, text | query_id, text | ids, relevance."""
    corpus = _by_id(files, params, "corpus", "doc_id")
    queries = _by_id(files, params, "queries", "query_id")
    judged = set()
    for raw in _part(files, params, "qrels"):
        for column, known in (("query_id", queries), ("doc_id", corpus)):
            if raw.values.get(column) not in known:
                where = "corpus" if column == "doc_id" else "queries"
                raise raw.error(column, f"unknown id {raw.values.get(column)!r}; add it to {where} or remove the row")
        query, document = queries[raw.values["query_id"]], corpus[raw.values["doc_id"]]
        if _text(query):  # drop_empty removes rows with an empty query; the document is then yielded without one
            judged.add(raw.values["doc_id"])
        yield Raw(raw.file, raw.row, _joined(query, document, _grade(raw)))
    for identity, document in corpus.items():
        if identity not in judged:
            yield Raw(document.file, document.row, _joined(None, document, None))


def _grade(raw: Raw) -> Any:
    """Column relevance or score (BEIR's name); 1 if the row has only the two ids."""
    for column in ("relevance", "score"):
        if column in raw.values:
            if is_null(raw.values[column]):
                raise raw.error(column, "empty; correct or remove the row")
            return raw.values[column]
    if set(raw.values) - {"query_id", "doc_id"}:
        has = ", ".join(raw.values)
        raise raw.error("relevance", f"missing; the row has {has}: name the column of grades relevance, or remove it")
    return 1


def _joined(query: Raw | None, document: Raw, relevance: Any) -> dict[str, Any]:
    return {
        "query_id": query and query.values["query_id"],
        "query": query and _text(query),
        "split": query and query.values.get("split"),
        "doc_id": document.values["doc_id"],
        "document": _text(document),
        "score": relevance,
    }


def _text(raw: Raw) -> str:
    """Title and text joined by a space; empty only with drop_empty, which then drops the row."""
    parts = [read_text(raw, column, raw.values.get(column)) for column in ("title", "text")]
    return " ".join(part for part in parts if part)


def _by_id(files: Files, params: SourceParams, part: str, column: str) -> dict[str, Raw]:
    rows: dict[str, Raw] = {}
    for raw in _part(files, params, part):
        identity = raw.values.get(column)
        if not isinstance(identity, str) or not identity:
            raise raw.error(column, "missing or not text; every row needs an id")
        if identity in rows:
            raise raw.error(column, f"duplicate id {identity!r}; ids must be unique")
        if not (_text(raw) or params.drop_empty):
            raise raw.error("text", "empty; correct or remove the row, or set drop_empty: true")
        rows[identity] = raw
    return rows


def _part(files: Files, params: SourceParams, part: str) -> Iterator[Raw]:
    for name in files.names:
        if name in (f"{part}.jsonl", *(f"{part}.jsonl{ending}" for ending in COMPRESSIONS)):
            return jsonl_rows(files.root / name, params)
        if name == f"{part}.parquet":
            return parquet_rows(files.root / name)
    raise UserError(f"{files.root}: no {part}.jsonl or {part}.parquet; a collection needs corpus, queries and qrels")
