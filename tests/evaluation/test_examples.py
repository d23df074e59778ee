"""The worst queries of a retrieval task: ranked exactly as pytrec_eval scored them."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest

from components.evaluation.examples import query_scores, rank_as_scored, worst_queries

FOUND = {"a": {"a": 0.9, "d1": 0.5, "d2": 0.5, "d3": 0.1}, "b": {"d1": 0.8, "d2": 0.2}}
JUDGED = {"a": {"d1": 1}, "b": {"gone": 1}}


def task(identical: bool) -> Any:
    return SimpleNamespace(
        metadata=SimpleNamespace(main_score="ndcg_at_10"),
        ignore_identical_ids=identical,
        prediction_file_name="p.json",
        dataset={"default": {"test": data()}},
    )


def data() -> dict[str, Any]:
    corpus = Rows(id=["a", "d1", "d2", "d3"], text=["query a itself", "one", "two", "three"])
    queries = Rows(id=["a", "b"], text=["query a", "query b"])
    return {"queries": queries, "corpus": corpus, "relevant_docs": JUDGED}


class Rows(dict):  # type: ignore[type-arg]
    """A data set's two ways of reading: a column by name, a row by number."""

    @property
    def column_names(self) -> list[str]:
        return list(self)

    def __getitem__(self, key: Any) -> Any:
        return super().__getitem__(key) if isinstance(key, str) else {name: self[name][key] for name in self}


@pytest.fixture
def predictions(tmp_path: Path) -> Path:
    (tmp_path / "p.json").write_text(json.dumps({"default": {"test": FOUND}}))
    return tmp_path


def worst(predictions: Path, identical: bool) -> dict[tuple[str, str], dict[str, Any]]:
    frame = worst_queries(task(identical), predictions, "test", "default", 2, 3)
    return {(row["query_id"], row["doc_id"]): row for row in frame.to_dicts()}


def test_a_tie_goes_to_the_later_id_as_in_the_score(predictions: Path) -> None:
    """At rank 2 of 3, behind d2: 1 / log2(3)."""
    assert rank_as_scored(FOUND["a"]) == ["a", "d2", "d1", "d3"]
    row = worst(predictions, identical=True)["a", "d1"]
    assert (row["rank"], round(row["score"], 4)) == (2, 0.6309)


def test_a_query_that_is_a_document_does_not_find_itself_where_it_is_not_scored(predictions: Path) -> None:
    assert ("a", "a") not in worst(predictions, identical=True)
    assert worst(predictions, identical=False)["a", "a"]["rank"] == 1
    assert worst(predictions, identical=False)["a", "d1"]["rank"] == 3


def test_a_judged_document_outside_the_corpus_has_no_text(predictions: Path) -> None:
    row = worst(predictions, identical=True)["b", "gone"]
    assert (row["document"], row["rank"], row["relevant"], row["score"]) == (None, None, True, 0.0)
    assert query_scores(task(True), FOUND, JUDGED, ("ndcg_cut", "10"))["b"] == 0.0
    assert isinstance(worst_queries(task(True), predictions, "test", "default", 2, 3), pl.DataFrame)
