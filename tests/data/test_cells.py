"""What is text in a cell, what is none, and what is empty."""

from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from components.base.errors import UserError
from tests.data.test_formats import read, rows, write

GOOD = '{"query": "how do I reset it", "document": "Hold the button."}\n'


@pytest.mark.parametrize("empty", ["NaN", "null", '" "', r'"\u200b"', r'"\u00a0\ufeff"'])
def test_a_text_without_a_visible_character_is_empty(tmp_path: Path, empty: str) -> None:
    file = write(tmp_path / "a.jsonl", f'{GOOD}{{"query": "what is missing", "document": {empty}}}\n')
    with pytest.raises(UserError, match=r"a\.jsonl: row 2: field document: empty; "):
        read(file, "jsonl")
    frame, counts = read(file, "jsonl", drop_empty=True)
    assert (len(frame), counts.dropped["empty"]) == (1, 1)


def test_numbers_are_labels_and_ids(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", '{"text": "a", "label": 7}\n{"text": "b", "label": true}\n')
    assert rows(file, "jsonl") == [{"text": "a", "label": "7"}, {"text": "b", "label": "True"}]


def test_bytes_are_utf_8_text(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    pl.DataFrame({"query": ["größe?".encode()], "document": [b"ten"]}).write_parquet(file)
    assert rows(file, "parquet") == [{"query": "größe?", "document": "ten"}]
    pl.DataFrame({"query": [b"\xff\xfe"], "document": [b"ten"]}).write_parquet(file)
    with pytest.raises(UserError, match=r"a\.parquet: row 1: field query: holds bytes that are not utf-8 text"):
        read(file, "parquet")


@pytest.mark.parametrize("value", [datetime(2026, 1, 1), Decimal("1.5"), [1.5], {"a": "b"}, 42, 1.5, True])
def test_what_is_no_text_is_refused(tmp_path: Path, value: Any) -> None:
    pl.DataFrame({"query": ["a"], "document": [value]}).write_parquet(tmp_path / "a.parquet")
    with pytest.raises(UserError, match=r"row 1: field document: holds a \w+, expected text; correct `fields`"):
        read(tmp_path / "a.parquet", "parquet")


def test_an_escaped_emoji_is_read_whole(tmp_path: Path) -> None:
    whole = write(tmp_path / "b.jsonl", r'{"query": "\ud83d\ude00", "document": "whole"}')
    assert rows(whole, "jsonl")[0]["query"] == "😀"


def test_whole_numbers_of_pandas_are_ids(tmp_path: Path) -> None:
    for name, frame in (
        ("corpus", {"doc_id": [1, 2], "text": ["a", "b"]}),
        ("queries", {"query_id": [1], "text": ["q"]}),
        ("qrels", {"query_id": [1.0], "doc_id": [2.0], "relevance": [1.0]}),
    ):
        path = tmp_path / "in" / f"{name}.parquet"
        path.parent.mkdir(exist_ok=True)
        pl.DataFrame(frame).write_parquet(path)
    found = rows(tmp_path / "in", "collection")
    assert [(row["query_id"], row["doc_id"]) for row in found] == [("1", "2"), (None, "1")]


def test_an_underscore_makes_no_number(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="row 1: field score: not a number: '1_0'"):
        read(write(tmp_path / "a.jsonl", '{"query": "q", "document": "d", "score": "1_0"}\n'), "jsonl")
