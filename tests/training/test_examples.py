"""Triplets that do not fit their tables are refused, by file and row."""

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from components.base.errors import UserError
from components.contracts.tables import INSTRUCTIONS, TRIPLETS, read_table, write_table
from components.training.examples import load_training_data
from tests.samples import write_training_tables


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"positive": pl.lit(999)}, "row 0: unknown document 999"),
        ({"query": pl.lit(999) + pl.col("query")}, "row 0: field query: unknown query"),
        ({"negative_scores": pl.col("negative_scores").list.head(1)}, "row 0: negatives and negative_scores differ"),
    ],
)
def test_a_broken_triplet_is_named(tmp_path, change, message):
    outputs = write_training_tables(tmp_path)
    path = outputs / "mine" / "triplets.parquet"
    write_table(pl.read_parquet(path).with_columns(**change), path, TRIPLETS)
    with pytest.raises(UserError, match=message):
        load_training_data(outputs, outputs / "cache")


def test_a_relabelled_positive_is_no_negative_of_its_query_in_any_batch(tmp_path):
    outputs = write_training_tables(tmp_path)
    path = outputs / "mine" / "triplets.parquet"
    qrels = pl.read_parquet(outputs / "prepare" / "qrels.parquet")
    before = load_training_data(outputs, outputs / "cache").judgements
    assert before.document.tolist() == qrels["document"].to_list()
    triplets = read_table(path, TRIPLETS)
    first = triplets.row(0, named=True)
    other = first["negatives"][0]
    new = triplets.head(1).with_columns(positive=pl.lit(other, pl.UInt32))
    write_table(pl.concat([triplets, new]).sort("query", "positive"), path, TRIPLETS)
    judgements = load_training_data(outputs, outputs / "cache").judgements
    query = np.array([first["query"]], dtype=np.uint32)
    assert {first["positive"], other} <= set(judgements.of(query)[1].tolist())
    assert judgements.grades(query, np.array([other], dtype=np.uint32)).tolist() == [1.0]
    assert len(judgements.query) == len(qrels) + 1


def test_only_train_queries_are_examples(data):
    assert set(data.examples["words"].query).isdisjoint(data.dev_queries["words"])
    assert len(data.dev_queries["words"]) == 4


def test_instructions_of_the_source_are_read_by_query(training_tables: Path, tmp_path: Path) -> None:
    shutil.copytree(training_tables, tmp_path / "outputs")
    rows = pl.DataFrame({"query": [3, 5, 8], "instruction": ["b", "a", "b"]})
    write_table(rows, tmp_path / "outputs/prepare/instructions.parquet", INSTRUCTIONS)
    data = load_training_data(tmp_path / "outputs", tmp_path / "cache")
    assert [data.instructions[place] for place in data.own_instructions(np.array([3, 5, 8]))] == ["b", "a", "b"]
    assert data.own_instructions(np.array([4])).tolist() == [-1]
    assert load_training_data(training_tables, tmp_path / "cache").own_instructions(np.array([3])).tolist() == [-1]
