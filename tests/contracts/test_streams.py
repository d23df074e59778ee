"""Tables that grow by parts."""

from pathlib import Path

import polars as pl
import pytest

from components.base.errors import UserError
from components.contracts import streams
from components.contracts.streams import TableWriter
from components.contracts.tables import QRELS, read_rows, read_table

ROWS = pl.DataFrame({"query": range(50), "document": range(50), "relevance": 1.0})


def write(path: Path, size: int) -> Path:
    with TableWriter(path, QRELS) as table:
        for start in range(0, len(ROWS), size):
            table.append(ROWS.slice(start, size))
    return path


def test_the_parts_change_no_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "ROW_GROUP", 8)
    files = [write(tmp_path / f"{size}.parquet", size) for size in (50, 7, 16)]
    assert read_table(files[0], QRELS).equals(ROWS.cast({"query": pl.UInt32, "document": pl.UInt32}))
    assert len({file.read_bytes() for file in files}) == 1
    assert read_rows(files[1], QRELS, 7, 10, ["query", "relevance"]).rows() == [(7, 1.0), (8, 1.0), (9, 1.0)]


def test_a_part_that_does_not_follow_is_refused(tmp_path: Path) -> None:
    with TableWriter(tmp_path / "t.parquet", QRELS) as table:
        table.append(ROWS.slice(10, 5))
        with pytest.raises(UserError, match=r"field query\+document: not sorted"):
            table.append(ROWS.slice(0, 5))
        with pytest.raises(UserError, match=r"field query\+document: duplicate '14, 14'"):
            table.append(ROWS.slice(14, 5))
        table.append(ROWS.slice(15, 5))
    assert len(read_table(tmp_path / "t.parquet", QRELS)) == 10
