"""Distinct texts: numbered by first row, told apart as the splits tell them apart, kept in their column."""

import polars as pl
import pytest

from components.base.errors import UserError
from components.data.distinct import DistinctTexts, TextsAt


def test_another_spelling_is_another_text_that_is_known_to_be_the_same() -> None:
    texts = DistinctTexts(pl.Series(["B  b", None, "a", "b B", "A", "c", "b B", "B  b", "Ａ"]))
    assert texts.numbers.tolist() == [0, -1, 1, 2, 3, 4, 2, 0, 5]
    assert texts.same.tolist() == [0, 1, 0, 1, 4, 1]
    assert (len(texts), texts.variants, texts.texts([4, 0])) == (6, 3, ["c", "B  b"])
    assert texts.keys([0, 1]) == ["b b", "a"]
    assert texts.names([1, 0], "task-d").to_list() == ["task-d000001", "task-d000000"]
    assert texts.of_first_rows(pl.Series(range(9))).to_list() == [0, 2, 3, 4, 5, 8]


def test_texts_are_cut_before_they_are_told_apart() -> None:
    texts = DistinctTexts(pl.Series(["a b c", "a b d", "b"]), words=2)
    assert (texts.numbers.tolist(), texts.texts([0, 1])) == ([0, 0, 1], ["a b", "b"])


def test_an_id_of_the_users_is_what_a_text_is_known_by() -> None:
    texts = DistinctTexts(pl.Series(["same", "same", "same", "other"]), pl.Series(["x", "y", "x", None]))
    assert texts.numbers.tolist() == [0, 1, 0, 2]
    assert texts.names([0, 1, 2], "task-q").to_list() == ["task-x", "task-y", "task-q000002"]
    assert texts.keys([1, 2]) == ["y", "other"]
    assert texts.same.tolist() == [0, 0, 2]
    spelled = DistinctTexts(pl.Series(["one  two", "One two", "one  two"]), pl.Series(["x", "x", "x"]))
    assert (spelled.respelled, spelled.texts([0])) == (1, ["one  two"])
    with pytest.raises(UserError, match="duplicate id 'x' with two texts, in rows 1 and 2; ids must be unique"):
        DistinctTexts(pl.Series(["one", "two"]), pl.Series(["x", "x"]))


def test_a_lazy_list_of_texts() -> None:
    column = pl.Series([f"text {number}" for number in range(40_000)])
    texts = DistinctTexts(column)
    lazy = TextsAt(texts, texts.numbers[::-1])
    assert (len(lazy), lazy[0], lazy[1:3]) == (40_000, "text 39999", ["text 39998", "text 39997"])
    assert list(lazy) == column[::-1].to_list()
