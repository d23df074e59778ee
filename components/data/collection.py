"""Reader for retrieval collections (BEIR, TREC, ours): corpus, queries and judgements, joined.

A document's title is prepended to its text, as in BEIR and mteb. Judgements in files named after several splits
(qrels/train.tsv, qrels/test.tsv) state the split of their queries.
"""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from components.config import SourceParams
from components.data.cells import Raw, is_null, read_cell
from components.data.counts import Counts
from components.data.layouts import COLLECTIONS, Part
from components.data.local_files import bare_name
from components.data.origins import Files
from components.data.part_files import PartRow, find_part, part_rows, require_part
from components.data.table_files import SPLIT_NAMES


def read_collection(files: Files, params: SourceParams, counts: Counts) -> Iterator[Raw]:
    """query_id, query, split, doc_id, document, score of every judgement; documents that none names come last."""
    parts = COLLECTIONS[params.format]
    names = {part: require_part(files, params, part, known) for part, known in parts.items()}
    used = {name for own in names.values() for name in own}
    counts.skipped += [name for name in files.names if name not in used]
    corpus = read_by_id(files, params, "corpus", parts["corpus"], counts)
    queries = read_by_id(files, params, "queries", parts["queries"], counts)
    judged_queries, judged = set(), set()
    for file, split in _stated_splits(names["qrels"]):
        for row in part_rows(files, [file], params, "qrels", parts["qrels"], counts):
            query_id, doc_id = row.name("query_id"), row.name("doc_id")
            missing = _unknown(row, {"queries": (query_id, queries), "corpus": (doc_id, corpus)})
            if missing and params.on_missing == "refuse":
                raise missing
            if missing:
                counts.leave_out("missing")
                continue
            judged_queries.add(query_id)
            query = queries[query_id]
            if query.text:  # drop_empty removes rows with an empty query; the document then stays without one
                judged.add(doc_id)
            values = {
                "query_id": query_id,
                "query": query.text,
                "split": query.split or split,
                "doc_id": doc_id,
                "document": corpus[doc_id].text,
                "score": _grade(row, params),
            }
            yield Raw(row.raw.file, row.raw.row, values)
    counts.without_judgement = len(queries.keys() - judged_queries)
    for doc_id, one in corpus.items():
        if doc_id not in judged:
            yield pool_row(one, doc_id)


class Entry(NamedTuple):
    """A document or query: its text (empty only with drop_empty, which drops its rows), its split, where it stands."""

    text: str
    split: str
    file: Path
    row: int


def pool_row(entry: Entry, doc_id: str | None) -> Raw:
    """A document that belongs to no query."""
    values = {"query": None, "split": None, "doc_id": doc_id, "document": entry.text, "score": None}
    if doc_id is None:
        del values["doc_id"]
    return Raw(entry.file, entry.row, values, pool=True)


def read_by_id(files: Files, params: SourceParams, part: str, known: Part, counts: Counts) -> dict[str, Entry]:
    """The rows of a corpus or of queries, by id."""
    identity, column = ("doc_id", "document") if part == "corpus" else ("query_id", "query")
    rows: dict[str, Entry] = {}
    for row in part_rows(files, find_part(files, params, part, known), params, part, known, counts):
        own, label = row.name(identity), row.found[identity][0]
        if not own:
            raise row.raw.error(label, "empty; every row needs an id")
        if own in rows:
            raise row.raw.error(label, f"duplicate id {own!r}; ids must be unique")
        text = row.text(column)
        if not (text or params.drop_empty):
            what = "empty; correct or remove the row, or set drop_empty: true"
            raise row.raw.error(row.found[column][-1], what)
        rows[own] = Entry(text, row.name("split"), row.raw.file, row.raw.row)
    return rows


def _stated_splits(names: list[str]) -> list[tuple[str, str | None]]:
    """Files of judgements, with the split that each is named after if there are several."""
    splits = [SPLIT_NAMES.get(PurePosixPath(bare_name(name)).stem.split("-")[0].split(".")[-1]) for name in names]
    stated = len({one for one in splits if one}) > 1
    return [(name, split if stated else None) for name, split in zip(names, splits, strict=True)]


def _unknown(row: PartRow, ids: dict[str, tuple[str, dict[str, Entry]]]) -> Exception | None:
    """The error for an id that is not there."""
    for where, (own, known) in ids.items():
        if own not in known:
            label = row.found["query_id" if where == "queries" else "doc_id"][0]
            cure = f"add it to {where} or remove the row, or set on_missing: skip"
            return row.raw.error(label, f"unknown id {own!r}; {cure}")
    return None


def _grade(row: PartRow, params: SourceParams) -> Any:
    """The grade; 1 if the row has only the two ids."""
    names = row.found.get("score")
    if names:
        grade = read_cell(row.raw, names)
        if (is_null(grade) or grade == "") and params.on_missing == "refuse":
            raise row.raw.error(names[0], "empty; correct or remove the row, or set on_missing: skip")
        return grade
    if set(row.raw.values) - {row.found["query_id"][0], row.found["doc_id"][0]}:
        has = ", ".join(row.raw.values)
        cure = "name the column of grades in `fields: {score: ...}`, or remove the others"
        raise row.raw.error("relevance", f"missing; the row has {has}: {cure}")
    return 1
