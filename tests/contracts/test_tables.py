"""Tables that break their contract are refused by file, row and field."""

import polars as pl
import pyarrow.parquet as pq
import pytest

from components.base.errors import UserError
from components.contracts.tables import (
    CORPUS,
    QRELS,
    QUERIES,
    name_by_row,
    number_rows,
    read_table,
    read_task,
    write_table,
)
from components.contracts.tasks import Task, read_tasks, write_tasks

GOOD = pl.DataFrame({"query": [0, 1], "document": [4, 4], "relevance": [1.0, 2.0]}).cast(
    {"query": pl.UInt32, "document": pl.UInt32}
)
TEXTS = pl.DataFrame({"row": [0, 1, 2], "doc_id": ["b", "a", "c"], "text": ["x"] * 3, "task": ["one", "two", "two"]})


def test_a_table_comes_back_as_it_was_written_with_the_same_bytes(tmp_path):
    for name in ("a.parquet", "b.parquet"):
        write_table(GOOD, tmp_path / name, QRELS)
    assert read_table(tmp_path / "a.parquet", QRELS).equals(GOOD)
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (GOOD.drop("document"), "field document is missing"),
        (GOOD.with_columns(document=pl.Series([4, None])), "row 1: field document: empty"),
        (GOOD.with_columns(document=pl.Series([4, -1])), "field document: holds Int64, expected row"),
        (GOOD.with_columns(relevance=pl.Series([1.0, float("nan")])), "row 1: field relevance: not a finite number"),
        (GOOD.with_columns(relevance=pl.Series(["much", "1"])), "field relevance: holds String, expected float"),
        (GOOD.with_columns(query=pl.lit(1)), "row 1: field query[+]document: duplicate '1, 4'"),
        (GOOD.reverse(), "row 1: field query[+]document: not sorted; run the stage that writes it again"),
    ],
)
def test_a_broken_row_is_named_and_nothing_is_written(tmp_path, frame, message):
    path = tmp_path / "qrels.parquet"
    with pytest.raises(UserError, match=message) as caught:
        write_table(frame, path, QRELS)
    assert "qrels.parquet" in str(caught.value)
    assert not path.exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"row": pl.Series([0, 2, 1])}, "row 1: field row: is not the number of the row"),
        ({"row": pl.Series([1, 2, 3])}, "row 0: field row: is not the number of the row"),
        ({"doc_id": pl.Series(["b", "a", "b"])}, "row 2: field doc_id: duplicate 'b'"),
        ({"doc_id": pl.Series(["b", "d", "c"])}, "row 2: field task[+]doc_id: not sorted"),
        ({"text": pl.Series(["x", " ", "x"])}, "row 1: field text: empty"),
    ],
)
def test_rows_are_numbered_in_the_order_of_task_and_id(tmp_path, change, message):
    write_table(TEXTS, tmp_path / "corpus.parquet", CORPUS)
    with pytest.raises(UserError, match=message):
        write_table(TEXTS.with_columns(**change), tmp_path / "corpus.parquet", CORPUS)


def test_tables_are_numbered_and_pairs_named_by_row():
    corpus = number_rows(TEXTS.reverse().drop("row"), CORPUS)
    assert corpus.select("row", "doc_id").rows() == [(0, "b"), (1, "a"), (2, "c")]
    queries = number_rows(pl.DataFrame({"query_id": ["q2", "q1"], "task": "two"}), QUERIES)
    pairs = pl.DataFrame({"query_id": ["q2", "q1", "q1"], "doc_id": ["a", "c", "a"], "relevance": [1.0, 2.0, 3.0]})
    assert name_by_row(pairs, queries, corpus).rows() == [(0, 1, 3.0), (0, 2, 2.0), (1, 1, 1.0)]


def test_a_range_of_rows_reads_only_its_row_groups(tmp_path):
    rows = pl.DataFrame({"query": range(200_000), "document": range(200_000), "relevance": 1.0})
    write_table(rows, tmp_path / "qrels.parquet", QRELS)
    groups = pq.ParquetFile(tmp_path / "qrels.parquet").metadata
    bounds = [groups.row_group(i).column(0).statistics for i in range(groups.num_row_groups)]
    assert [(bound.min, bound.max + 1) for bound in bounds] == [
        (start, min(start + 65_536, 200_000)) for start in range(0, 200_000, 65_536)
    ]


def test_a_task_is_read_alone_by_columns_split_and_number(tmp_path):
    rows = {"task": ["a"] * 3 + ["b"] * 2, "split": ["train", "dev", "train", "train", "train"]}
    names = {"query_id": list("12345"), "text": [f"text {i}" for i in range(5)]}
    write_table(number_rows(pl.DataFrame(rows | names), QUERIES), tmp_path / "queries.parquet", QUERIES)
    found = read_task(tmp_path / "queries.parquet", QUERIES, "a", ["row", "text"], split="train")
    assert found.rows() == [(0, "text 0"), (2, "text 2")]
    assert read_task(tmp_path / "queries.parquet", QUERIES, "b", ["row"], first=1).rows() == [(3,)]
    assert read_task(tmp_path / "queries.parquet", QUERIES, "none", ["text"]).is_empty()


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
