"""Tasks on disk become the tables of all of them: the bytes of tables written whole, and one clear error."""

from pathlib import Path

import polars as pl
import pytest

from components.base.errors import UserError
from components.contracts.tables import CORPUS, QRELS, QUERIES, name_by_row, number_rows, write_table
from components.data import parts
from components.data.prepared import Prepared


def prepared(task: str, texts: int, prefix: str | None = None) -> Prepared:
    numbers = range(texts)
    ids = [f"{prefix or task}-{(7 * n) % texts:03d}" for n in numbers]
    corpus = pl.DataFrame({"doc_id": ids, "text": [f"text {n}" for n in numbers]})
    queries = pl.DataFrame({"query_id": ids, "text": [f"query {n}" for n in numbers], "split": ["train"] * texts})
    qrels = pl.DataFrame({"query_id": ids, "doc_id": ids[::-1], "relevance": [1.0] * texts})
    none = pl.lit(None, dtype=pl.String)
    return Prepared(corpus.with_columns(label=none, split=none), queries.with_columns(label=none), qrels)


def test_the_tables_have_the_bytes_of_tables_that_are_written_whole(tmp_path: Path) -> None:
    tasks = {"b": prepared("b", 5), "a": prepared("a", 3), "a-b": prepared("a-b", 4)}
    for name, rows in tasks.items():
        parts.write(rows, tmp_path / "work", name)
    assert parts.read(tmp_path / "work", "a").corpus.equals(tasks["a"].corpus)
    whole = {
        side: pl.concat([getattr(rows, side).with_columns(task=pl.lit(name)) for name, rows in tasks.items()])
        for side in ("corpus", "queries", "qrels")
    }
    corpus, queries = number_rows(whole["corpus"], CORPUS), number_rows(whole["queries"], QUERIES)
    write_table(corpus, tmp_path / "whole" / "corpus.parquet", CORPUS)
    write_table(queries, tmp_path / "whole" / "queries.parquet", QUERIES)
    qrels = name_by_row(whole["qrels"].drop("task"), queries, corpus)
    write_table(qrels, tmp_path / "whole" / "qrels.parquet", QRELS)
    (tmp_path / "out").mkdir()
    parts.join(tmp_path / "work", list(tasks), tmp_path / "out")
    for name in ("corpus", "queries", "qrels"):
        file = f"{name}.parquet"
        assert (tmp_path / "out" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()


def test_scores_of_the_source_are_written_where_a_task_has_any(tmp_path: Path) -> None:
    first, second = prepared("a", 3), prepared("b", 5)
    second.source_scores = second.qrels.select("query_id", "doc_id", score=pl.lit(0.5))
    for name, tasks in (("with", {"a": first, "b": second}), ("without", {"a": first})):
        for task, rows in tasks.items():
            parts.write(rows, tmp_path / name, task)
        (tmp_path / f"{name} out").mkdir()
        parts.join(tmp_path / name, list(tasks), tmp_path / f"{name} out")
    found = pl.read_parquet(tmp_path / "with out" / "source_scores.parquet")
    assert found.select("query", "document").equals(
        pl.read_parquet(tmp_path / "with out" / "qrels.parquet").select("query", "document")[3:]
    )
    assert not (tmp_path / "without out" / "source_scores.parquet").exists()


def test_an_id_of_two_tasks_and_an_empty_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    parts.write(prepared("a", 3), tmp_path, "a")
    parts.write(prepared("b", 3, prefix="a"), tmp_path, "b")
    with pytest.raises(UserError, match=r"corpus\.parquet: field doc_id: duplicate 'a-000'; ids must be unique"):
        parts.join(tmp_path, ["a", "b"], tmp_path / "out")
    rows = prepared("b", 3)
    rows.corpus = rows.corpus.with_columns(text=pl.lit(" "))
    parts.write(prepared("a", 3), tmp_path, "a")
    parts.write(rows, tmp_path, "b")
    with pytest.raises(UserError, match=r"b\.corpus\.parquet: row 0: field text: empty"):
        parts.join(tmp_path, ["a", "b"], tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())
