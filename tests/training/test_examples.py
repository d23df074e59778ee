"""Triplets that do not fit their tables are refused, by file and row."""

import polars as pl
import pytest

from components.base.errors import UserError
from components.contracts.tables import TRIPLETS, write_table
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


def test_only_train_queries_are_examples(data):
    assert set(data.examples["words"].query).isdisjoint(data.dev_queries["words"])
    assert len(data.dev_queries["words"]) == 4
