"""Distinct texts: numbered by first row, told apart as the splits tell them apart, kept in their column."""

import polars as pl
import pytest

from components.base.errors import UserError
from components.data.distinct import DistinctTexts, TextsAt


def test_case_and_spaces_make_no_other_text() -> None:
    texts = DistinctTexts(pl.Series(["B  b", None, "a", "b B", "A", "c"]))
    assert texts.numbers.tolist() == [0, -1, 1, 0, 1, 2]
    assert (len(texts), texts.texts([2, 0])) == (3, ["c", "B  b"])
    assert texts.keys([0, 1]) == ["b b", "a"]
    assert texts.names([1, 0], "task-d").to_list() == ["task-d000001", "task-d000000"]
    assert texts.of_first_rows(pl.Series(range(6))).to_list() == [0, 2, 5]


def test_texts_are_cut_before_they_are_told_apart() -> None:
    texts = DistinctTexts(pl.Series(["a b c", "a b d", "b"]), words=2)
    assert (texts.numbers.tolist(), texts.texts([0, 1])) == ([0, 0, 1], ["a b", "b"])


def test_an_id_of_the_users_is_what_a_text_is_known_by() -> None:
    texts = DistinctTexts(pl.Series(["same", "same", "same", "other"]), pl.Series(["x", "y", "x", None]))
    assert texts.numbers.tolist() == [0, 1, 0, 2]
    assert texts.names([0, 1, 2], "task-q").to_list() == ["task-x", "task-y", "task-q000002"]
    assert texts.keys([1, 2]) == ["y", "other"]
    with pytest.raises(UserError, match="duplicate id 'x' with two texts"):
        DistinctTexts(pl.Series(["one", "two"]), pl.Series(["x", "x"]))


def test_a_lazy_list_of_texts() -> None:
    column = pl.Series([f"text {number}" for number in range(40_000)])
    texts = DistinctTexts(column)
    lazy = TextsAt(texts, texts.numbers[::-1])
    assert (len(lazy), lazy[0], lazy[1:3]) == (40_000, "text 39999", ["text 39998", "text 39997"])
    assert list(lazy) == column[::-1].to_list()
