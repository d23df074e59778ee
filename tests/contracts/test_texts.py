"""Texts on disk: any rows come back in any order, equal texts are known, and a table's file is made once."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from components.contracts import texts
from components.contracts.texts import Texts, write_texts

WORDS = ["one", "zwei 大", "three", "one", "", "six", "zwei 大"]


@pytest.fixture
def words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Texts:
    monkeypatch.setattr(texts, "_PART", 3)
    write_texts(WORDS, tmp_path / "words.arrow")
    return Texts(tmp_path / "words.arrow")


def test_rows_come_in_the_order_asked_for(words: Texts) -> None:
    assert len(words) == 7
    assert words.take([6, 0, 3, 1, 0]) == ["zwei 大", "one", "one", "zwei 大", "one"]
    assert words.take([]) == []
    kind, arguments = words.__reduce__()  # how it travels to a worker
    assert kind(*arguments).take(np.array([5])) == ["six"]


def test_lengths_and_equal_texts_of_a_range(words: Texts) -> None:
    assert words.lengths(1, 5).tolist() == [8, 5, 3, 0]
    assert words.lengths(3, 3).tolist() == []
    assert words.first_rows(0, 7).tolist() == [0, 1, 2, 0, 4, 5, 1]
    assert words.first_rows(2, 7).tolist() == [2, 3, 4, 5, 6]


def test_a_tables_texts_are_written_once_per_content(tmp_path: Path) -> None:
    table = tmp_path / "corpus.parquet"
    pl.DataFrame({"row": range(7), "text": WORDS}).write_parquet(table)
    first = Texts.of_table(table, tmp_path)
    assert first.take(range(7)) == WORDS
    written = first.file.stat().st_mtime_ns
    assert Texts.of_table(table, tmp_path).file.stat().st_mtime_ns == written
    pl.DataFrame({"row": range(2), "text": ["other", "texts"]}).write_parquet(table)
    assert Texts.of_table(table, tmp_path).take([1]) == ["texts"]
