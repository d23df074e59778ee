"""Prepare a task from (query, document, score) pairs: training rows and held-out evaluation rows."""

import polars as pl

from components.config import TaskParams
from components.data.hard import hard_documents
from components.data.held_out import pair_benchmark
from components.data.pair_source import LOOSE, SHARED_DOCUMENTS, PairSource, query_keys
from components.data.prepared import Prepared, Row
from components.data.splits import Group, take_groups, take_groups_from_end


def prepare_pairs(name: str, rows: pl.DataFrame, params: TaskParams, seed: int) -> Prepared:
    """Split a pair source; training rows as in contracts/tables.py, evaluation tables as in held_out.py."""
    source = PairSource(name, rows, params)
    pool = source.pool(seed, params.source)
    test, dev = take_groups(pool, "test", params.test), take_groups(pool, "dev", params.dev)
    test_documents = _with_hard(source, test, pool, params.test_documents)
    dev_documents = _with_hard(source, dev, pool, params.dev_documents)
    train = take_groups_from_end(pool, "train", params.train)
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


def _with_hard(source: PairSource, found: list[Group], pool: list[Group], least: int) -> list[str]:
    """Documents of held-out groups plus hard ones up to `least`; the groups of those are removed from `pool`."""
    held_out = source.documents_of(found)
    queries = query_keys(found)
    missing = least - len(held_out)
    if missing <= 0 or not queries:
        return held_out
    owner = {key: group for group in pool if group.pinned in (None, "train") for key in group.documents}
    keys = [key for key in owner if not key.startswith(LOOSE) and key not in set(held_out)]
    answers = {key: [source.documents[one]["text"] for one in source.positives(key)] for key in queries}
    judged_queries = [(source.queries[key]["text"], answers[key]) for key in queries]
    chosen = hard_documents(judged_queries, [source.documents[key]["text"] for key in keys], missing)
    hard = [keys[index] for index in chosen]
    moved = {id(owner[key]) for key in hard}
    pool[:] = [group for group in pool if id(group) not in moved]
    return held_out + hard


def _add_split(done: Prepared, source: PairSource, found: list[Group], documents: list[str], split: str) -> None:
    held_out = None if split == "train" else split
    for key in documents:
        entry = source.documents[key]
        row = {"doc_id": entry["id"], "text": entry["text"], "label": entry.get("label"), "split": held_out}
        done.corpus.append(row)
    present = {row["doc_id"] for row in done.corpus}
    for query in query_keys(found):
        entry = source.queries[query]
        grades = {source.documents[key]["id"]: grade for key, grade in source.grades(query).items()}
        grades = {document: grade for document, grade in grades.items() if document in present}
        if grades:
            row = {"query_id": entry["id"], "text": entry["text"], "split": split, "label": entry.get("label")}
            done.queries.append(row)
        for document, grade in grades.items():
            done.qrels.append({"query_id": entry["id"], "doc_id": document, "relevance": grade})


def _add_reversed(done: Prepared) -> None:
    """Add each training pair with query and document swapped, for symmetric tasks."""
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
