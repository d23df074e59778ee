"""Small prepared tables for tests of shots: a task `t` of pairs."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import polars as pl

from components.contracts.tasks import Task
from components.data.inputs import Inputs


class Pair(NamedTuple):
    """A query and a judged document; equal documents are one."""

    query: str
    document: str
    split: str = "train"
    grade: float = 1.0
    label: str | None = None
    held_out: bool = False  # the document stands in the dev corpus


def task_of(kind: str, symmetric: bool = False, positive_score: float | None = None) -> Task:
    return Task("t", kind, "Find", symmetric, 1.0, "made up", "fakes", (), positive_score)


def inputs_of(pairs: Sequence[Pair]) -> Inputs:
    documents = list(dict.fromkeys((pair.document, pair.held_out) for pair in pairs))
    texts = list(dict.fromkeys((pair.query, pair.split, pair.label) for pair in pairs))
    queries: dict[str, Any] = {
        "row": range(len(texts)),
        "query_id": [f"q{i:03d}" for i in range(len(texts))],
        "text": [text for text, _, _ in texts],
        "task": ["t"] * len(texts),
        "split": [split for _, split, _ in texts],
        "label": [label for _, _, label in texts],
    }
    corpus: dict[str, Any] = {
        "row": range(len(documents)),
        "doc_id": [f"d{i:03d}" for i in range(len(documents))],
        "text": [text for text, _ in documents],
        "task": ["t"] * len(documents),
        "label": [None] * len(documents),
        "split": ["dev" if held_out else None for _, held_out in documents],
    }
    qrels = {
        "query": [texts.index((pair.query, pair.split, pair.label)) for pair in pairs],
        "document": [documents.index((pair.document, pair.held_out)) for pair in pairs],
        "relevance": [pair.grade for pair in pairs],
    }
    types = {"label": pl.String, "split": pl.String}
    return Inputs(
        pl.DataFrame(corpus, schema_overrides=types),
        pl.DataFrame(queries, schema_overrides=types),
        pl.DataFrame(qrels, schema_overrides={"query": pl.UInt32, "document": pl.UInt32}),
    )
