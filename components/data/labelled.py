"""Prepare a task from labelled texts: training rows and held-out evaluation rows.

positives: label    a query's positive is the text of its label: one document per label.
positives: example  a query's positive is another training text with its label (NV-Embed found this better than label
                    names for many-class tasks: 88.6 -> 94.4 on MTOPIntent); the texts are the corpus.
In both, rows carry their label, so that texts with equal labels are never used as negatives of each other.
"""

import re

import polars as pl

from components.base.errors import UserError
from components.base.overlap import normalise
from components.config import TaskParams
from components.data.prepared import Prepared, Row, cut_words
from components.data.splits import groups, sort_by_hash, take_groups, take_groups_from_end


def prepare_labelled(name: str, rows: pl.DataFrame, params: TaskParams, seed: int) -> Prepared:
    """Split a source of labelled texts; a text with several labels keeps the first."""
    if not {"text", "label"} <= set(rows.columns):
        raise UserError(f"has {', '.join(rows.columns)}; kind {params.kind} needs text and label")
    if params.train and params.positives == "document":
        raise UserError("holds labels, no documents; set positives: label or positives: example")
    entries: dict[str, Row] = {}
    edges = []
    for row in rows.iter_rows(named=True):
        text = cut_words(row["text"], params.max_words)
        key = normalise(text, punctuation=True)
        entries.setdefault(key, {"number": len(entries), "text": text, "label": row["label"]})
        edges.append((key, key, row.get("split")))
    pool = sort_by_hash(groups(edges), seed, params.source)
    split = {part: take_groups(pool, part, number) for part, number in (("test", params.test), ("dev", params.dev))}
    split["train"] = take_groups_from_end(pool, "train", max(params.train, params.fit))
    chosen = {part: [entries[key] for group in found for key in group.queries] for part, found in split.items()}
    done = Prepared(benchmark=_benchmark(chosen, params))
    if params.train:
        train = chosen["train"][: params.train]
        (_with_labels if params.positives == "label" else _with_examples)(done, name, train, chosen["dev"])
    return done


def _benchmark(chosen: dict[str, list[Row]], params: TaskParams) -> dict[str, pl.DataFrame]:
    parts = {"test": chosen["test"]}
    if params.kind == "classification":
        parts["train"] = chosen["train"][: params.fit]
    rows = {part: [{"text": one["text"], "label": one["label"]} for one in found] for part, found in parts.items()}
    return {part: pl.DataFrame(found).sort("label", "text") for part, found in rows.items() if found and chosen["test"]}


def _with_labels(done: Prepared, name: str, train: list[Row], dev: list[Row]) -> None:
    identities: dict[str, str] = {}
    for label in sorted({one["label"] for one in [*train, *dev]}):
        slug = re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-")
        identities[label] = f"{name}-label-{len(identities):03d}-{slug}"
        done.corpus.append({"doc_id": identities[label], "text": label, "label": label, "split": None})
    for one, split in [*((row, "train") for row in train), *((row, "dev") for row in dev)]:
        _add_query(done, name, one, split, identities[one["label"]])


def _with_examples(done: Prepared, name: str, train: list[Row], dev: list[Row]) -> None:
    by_label: dict[str, list[Row]] = {}
    for one in train:  # in hash order, so the neighbour is random
        by_label.setdefault(one["label"], []).append(one)
        document = {"doc_id": f"{name}-d{one['number']:06d}", "text": one["text"], "label": one["label"], "split": None}
        done.corpus.append(document)
    for same in by_label.values():
        for one, neighbour in zip(same, same[1:] + same[:1], strict=True):
            if one is not neighbour:
                _add_query(done, name, one, "train", f"{name}-d{neighbour['number']:06d}")
    for number, one in enumerate(dev):
        same = by_label.get(one["label"], [])
        if same:
            _add_query(done, name, one, "dev", f"{name}-d{same[number % len(same)]['number']:06d}")


def _add_query(done: Prepared, name: str, one: Row, split: str, positive: str) -> None:
    query = f"{name}-q{one['number']:06d}"
    done.queries.append({"query_id": query, "text": one["text"], "split": split, "label": one["label"]})
    done.qrels.append({"query_id": query, "doc_id": positive, "relevance": 1.0})
