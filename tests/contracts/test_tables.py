"""Tables that break their contract are refused by file, row and field."""

import polars as pl
import pytest

from components.base.errors import UserError
from components.contracts.tables import CORPUS, QRELS, read_table, write_table
from components.contracts.tasks import Task, read_tasks, write_tasks

GOOD = pl.DataFrame({"query_id": ["q1", "q2"], "doc_id": ["d1", "d1"], "relevance": [1.0, 2.0]})


def test_a_table_comes_back_as_it_was_written_with_the_same_bytes(tmp_path):
    for name in ("a.parquet", "b.parquet"):
        write_table(GOOD, tmp_path / name, QRELS)
    assert read_table(tmp_path / "a.parquet", QRELS).equals(GOOD)
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (GOOD.drop("doc_id"), "field doc_id is missing"),
        (GOOD.with_columns(doc_id=pl.Series(["d1", " "])), "row 1: field doc_id: empty"),
        (GOOD.with_columns(doc_id=pl.Series(["d1", None])), "row 1: field doc_id: empty"),
        (GOOD.with_columns(relevance=pl.Series([1.0, float("nan")])), "row 1: field relevance: not a finite number"),
        (GOOD.with_columns(relevance=pl.Series(["much", "1"])), "field relevance: holds String, expected float"),
        (GOOD.with_columns(query_id=pl.lit("q1")), "row 1: field query_id[+]doc_id: duplicate 'q1, d1'"),
    ],
)
def test_a_broken_row_is_named_and_nothing_is_written(tmp_path, frame, message):
    path = tmp_path / "qrels.parquet"
    with pytest.raises(UserError, match=message) as caught:
        write_table(frame, path, QRELS)
    assert "qrels.parquet" in str(caught.value)
    assert not path.exists()


def test_a_missing_or_foreign_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"corpus\.parquet: missing"):
        read_table(tmp_path / "corpus.parquet", CORPUS)
    (tmp_path / "corpus.parquet").write_text("hello", encoding="utf-8")
    with pytest.raises(UserError, match="not a readable Parquet file"):
        read_table(tmp_path / "corpus.parquet", CORPUS)


def test_tasks_come_back(tmp_path):
    task = Task("faq", "retrieval", "Find: the answer", symmetric=False, weight=1.5, licence="none", source="x")
    write_tasks([task], tmp_path / "tasks.yaml")
    assert read_tasks(tmp_path / "tasks.yaml") == {"faq": task}
    (tmp_path / "tasks.yaml").write_text("- {name: faq}", encoding="utf-8")
    with pytest.raises(UserError, match="malformed task entry"):
        read_tasks(tmp_path / "tasks.yaml")
