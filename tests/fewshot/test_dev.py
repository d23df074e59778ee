"""Documents of a dev set are encoded once whatever is tried."""

from typing import Any

import polars as pl

from components.contracts.tasks import Task
from components.data.inputs import Inputs
from components.fewshot.dev import dev_set
from components.model.prompt import Shot
from tests.evaluation.fakes import HashEncoder


def task(kind: str, symmetric: bool = False) -> Task:
    return Task("t", kind, "Find", symmetric, 1.0, "made up", "fakes")


def inputs(labels: list[str] | None = None) -> Inputs:
    size = 6
    words = ["rose soil", "rose seed", "oven salt", "oven dough", "ship tide", "ship mast"]
    queries: dict[str, Any] = {
        "row": range(size),
        "query_id": [f"q{i}" for i in range(size)],
        "text": words,
        "task": ["t"] * size,
        "split": ["dev"] * size,
        "label": labels or [None] * size,
    }
    corpus: dict[str, Any] = {
        "row": range(size + 1),
        "doc_id": [f"d{i}" for i in range(size + 1)],
        "text": [*(f"{text} again" for text in words), "a training document"],
        "task": ["t"] * (size + 1),
        "label": [None] * (size + 1),
        "split": [*["dev"] * size, None],
    }
    qrels = {"query": range(size), "document": range(size), "relevance": [1.0] * size}
    columns = {"label": pl.String}
    return Inputs(
        pl.DataFrame(corpus, schema_overrides=columns),
        pl.DataFrame(queries, schema_overrides=columns),
        pl.DataFrame(qrels),
    )


def test_documents_are_the_held_out_ones_and_encoded_once() -> None:
    dev, encoder = dev_set(inputs(), task("retrieval"), 100, 0), HashEncoder()
    assert dev is not None
    dev.scores(encoder, ())
    dev.scores(encoder, [Shot("a", "b")])
    documents = [texts for side, texts, _, _ in encoder.calls if side == "document"]
    assert [len(texts) for texts in documents] == [6]


def test_symmetric_documents_get_the_instruction_and_no_shots() -> None:
    dev, encoder = dev_set(inputs(), task("retrieval", symmetric=True), 100, 0), HashEncoder()
    assert dev is not None
    dev.scores(encoder, [Shot("a", "b")])
    assert [(call[2], call[3]) for call in encoder.calls] == [("Find", (Shot("a", "b"),)), ("Find", ())]


def test_labelled_texts_rank_each_other() -> None:
    dev = dev_set(inputs(["a", "a", "b", "b", "c", "c"]), task("classification"), 100, 0)
    assert dev is not None
    assert dev.documents is None
    assert dev.scores(HashEncoder(), ()).mean() > 0.9


def test_query_limit() -> None:
    dev = dev_set(inputs(), task("retrieval"), 3, 0)
    assert dev is not None
    assert len(dev.queries) == 3
    assert len(dev.documents or []) == 6


def test_a_task_without_dev_data_has_no_dev_set() -> None:
    empty = inputs()
    bare = Inputs(empty.corpus, empty.queries.with_columns(split=pl.lit("train")), empty.qrels)
    assert dev_set(bare, task("retrieval"), 100, 0) is None


def test_a_label_of_one_text_only_is_not_scored() -> None:
    dev = dev_set(inputs(["a", "a", "b", "b", "c", "d"]), task("classification"), 100, 0)
    assert dev is not None
    assert len(dev.queries) == 4
