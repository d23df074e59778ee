"""The texts of a task stay on disk: frames hold rows, and what is asked for is read."""

from pathlib import Path

import polars as pl

from components.data.inputs import read_inputs
from components.mining.facts import Stored, TaskTexts
from tests.samples import write_prepared_tables


def test_a_tasks_texts_are_read_from_the_mapped_files_by_row(tmp_path: Path) -> None:
    prepared = tmp_path / "prepare"
    tasks = ["a"] * 3 + ["b"] * 3
    found = pl.DataFrame({"doc_id": list("rstuvw"), "text": [f"text {i}" for i in range(6)], "task": tasks})
    found = found.with_columns(label=pl.Series(["x", None, "y", None, None, "z"]))
    splits = ["train", "test", "dev", "train", "dev", "train"]
    questions = {"query_id": list("123456"), "text": [f"question {i}" for i in range(6)], "task": tasks}
    asked = pl.DataFrame({**questions, "split": splits})
    qrels = pl.DataFrame({"query_id": list("123456"), "doc_id": list("rstuvw"), "relevance": [1.0] * 6})
    write_prepared_tables(prepared, found, asked, qrels)
    inputs = read_inputs(prepared, texts=False)
    corpus, queries = (pl.read_parquet(prepared / f"{name}.parquet") for name in ("corpus", "queries"))
    for task in inputs.tasks:
        texts = TaskTexts.of(inputs, task, 2, Stored.of(prepared, tmp_path / "cache"))
        assert not {"text", "doc_id", "query_id"} & {*texts.queries.columns, *texts.corpus.columns}
        own = corpus.filter(pl.col("task") == task)
        asked = queries.filter((pl.col("task") == task) & (pl.col("split") != "test"))
        assert texts.corpus.equals(own.select("row", "label"))
        assert texts.queries.equals(asked.select("row", "split", "label"))
        row, name, text = own.select("row", "doc_id", "text").row(-1)
        assert texts.document(row) == (name, text)
        assert texts.read_documents(texts.document_places(own["row"])) == own["text"].to_list()
        pairs = pl.DataFrame({"query": asked["row"][:2], "document": own["row"][:2]})
        assert texts.text_pairs(pairs) == list(zip(asked["text"][:2], own["text"][:2], strict=True))
        assert texts.query(asked["row"][1]) == asked["text"][1]
