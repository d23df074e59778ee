"""Data contracts: the Parquet tables that stages hand to each other, checked when written and when read.

A column's type says what it holds: `str` (non-empty text), `float`, `int`, `strs` and `floats` (lists). A `?` after it
allows nulls, and a missing column reads as null. Ids are strings and unique where `Table.key` says so.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from components.base.errors import UserError

_TYPES: dict[str, Any] = {
    "str": pl.String(),
    "float": pl.Float64(),
    "int": pl.Int64(),
    "strs": pl.List(pl.String()),
    "floats": pl.List(pl.Float64()),
}


@dataclass(frozen=True)
class Table:
    """Column types by name, and the columns whose values together are unique."""

    columns: dict[str, str]
    key: tuple[str, ...]


CORPUS = Table(
    # split: null = training corpus; dev = held out with the dev queries, the corpus that those are ranked over
    {"doc_id": "str", "text": "str", "task": "str", "label": "str?", "split": "str?"},
    key=("doc_id",),
)
QUERIES = Table({"query_id": "str", "text": "str", "task": "str", "split": "str", "label": "str?"}, key=("query_id",))
QRELS = Table({"query_id": "str", "doc_id": "str", "relevance": "float"}, key=("query_id", "doc_id"))
CANDIDATES = Table(
    {
        "query_id": "str",
        "doc_id": "str",
        "bm25_rank": "int?",
        "bm25_score": "float?",
        "dense_rank": "int?",
        "dense_score": "float?",
        "fused_score": "float",
    },
    key=("query_id", "doc_id"),
)
TEACHER_SCORES = Table(
    {**CANDIDATES.columns, "fused_score": "float?", "reranker_score": "float", "relevance": "float"},
    key=("query_id", "doc_id"),
)
TRIPLETS = Table(
    {
        "query_id": "str",
        "positive_id": "str",
        "positive_score": "float",
        "negative_ids": "strs",
        "negative_scores": "floats",
    },
    key=("query_id", "positive_id"),
)
REJECTIONS = Table(
    {"query_id": "str", "doc_id": "str", "reason": "str", "score": "float?", "threshold": "float?"},
    key=("query_id", "doc_id"),
)


def write_table(frame: pl.DataFrame, path: Path, table: Table) -> None:
    """Check `frame` against `table` and write it; same rows, same bytes. Raises UserError when a check fails."""
    frame = _checked(frame, str(path), table)
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.write_parquet(path, compression="zstd", statistics=False)


def read_table(path: Path, table: Table) -> pl.DataFrame:
    """Read and check a table. Raises UserError naming file, row and field when it breaks its contract."""
    if not path.is_file():
        raise UserError(f"{path}: missing; run the stage that writes it (dvc repro)")
    try:
        frame = pl.read_parquet(path)
    except pl.exceptions.PolarsError as problem:
        raise UserError(f"{path}: not a readable Parquet file: {' '.join(str(problem).split())}") from None
    return _checked(frame, str(path), table)


def _checked(frame: pl.DataFrame, name: str, table: Table) -> pl.DataFrame:
    nullable = [column for column, kind in table.columns.items() if kind.endswith("?")]
    frame = frame.with_columns(pl.lit(None).alias(column) for column in nullable if column not in frame.columns)
    missing = [column for column in table.columns if column not in frame.columns]
    if missing:
        raise UserError(f"{name}: field {missing[0]} is missing; expected {', '.join(table.columns)}")
    columns = []
    for column, kind in table.columns.items():
        columns.append(_checked_column(frame[column], name, column, kind))
    checked = pl.DataFrame(columns)
    duplicated = checked.select(pl.struct(table.key).is_duplicated().arg_true()).to_series()
    if len(duplicated):
        row = duplicated[-1]
        value = ", ".join(str(checked[column][row]) for column in table.key)
        raise UserError(f"{name}: row {row}: field {'+'.join(table.key)}: duplicate {value!r}; ids must be unique")
    return checked


def _checked_column(values: pl.Series, name: str, column: str, kind: str) -> pl.Series:
    optional, kind = kind.endswith("?"), kind.rstrip("?")
    try:
        typed = values.cast(_TYPES[kind], strict=True)
    except pl.exceptions.PolarsError:
        raise UserError(f"{name}: field {column}: holds {values.dtype}, expected {kind}") from None
    bad = typed.is_null() & (not optional)
    what = "empty"
    if not bad.any() and kind == "str":
        bad = (typed.str.strip_chars().str.len_bytes() == 0).fill_null(False)
    if not bad.any() and kind == "float":
        bad, what = ~typed.is_finite().fill_null(True), "not a finite number"
    if bad.any():
        raise UserError(f"{name}: row {bad.arg_true()[0]}: field {column}: {what}; correct or remove the row")
    return typed
