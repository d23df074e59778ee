"""Data contracts: the Parquet tables that stages hand to each other, checked when written and when read.

A column's type says what it holds: `str` (non-empty text), `float`, `int`, `floats` (a list), `row` (the number of a
row of corpus.parquet or queries.parquet), `rows` (a list of them) and `position` (the row's own number, from 0). A `?`
after it allows nulls, and a missing column reads as null.

The user's string ids are in corpus.parquet and queries.parquet only; all other tables name queries and documents by
row. Both are sorted by task, so a task is one range of rows there and in every table that is sorted by query.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from components.base.errors import UserError

_TYPES: dict[str, Any] = {
    "str": pl.String(),
    "float": pl.Float64(),
    "int": pl.Int64(),
    "floats": pl.List(pl.Float64()),
    "row": pl.UInt32(),
    "rows": pl.List(pl.UInt32()),
    "position": pl.UInt32(),
}
ROW_GROUP = 1 << 16  # rows; a reader of a range of rows reads the groups that it touches


@dataclass(frozen=True)
class Table:
    """Column types by name, the columns whose values together are unique, and those that the rows are sorted by.

    Values of `order` are unique too; such a table is written in small row groups with statistics.
    """

    columns: dict[str, str]
    key: tuple[str, ...]
    order: tuple[str, ...] = ()

    def only(self, columns: Sequence[str]) -> "Table":
        """This table with some of its columns; key and order are checked where all their columns are there."""
        kept = {name: self.columns[name] for name in columns}
        key, order = (names if set(names) <= set(kept) else () for names in (self.key, self.order))
        return Table(kept, key, order)


_PAIR = ("query", "document")
CORPUS = Table(
    # split: null = training corpus; dev = held out with the dev queries, the corpus that those are ranked over
    {"row": "position", "doc_id": "str", "text": "str", "task": "str", "label": "str?", "split": "str?"},
    key=("doc_id",),
    order=("task", "doc_id"),
)
QUERIES = Table(
    {"row": "position", "query_id": "str", "text": "str", "task": "str", "split": "str", "label": "str?"},
    key=("query_id",),
    order=("task", "query_id"),
)
QRELS = Table({"query": "row", "document": "row", "relevance": "float"}, key=_PAIR, order=_PAIR)
# The source's own judged negatives of training queries, where it has any; they are in the corpus too.
OWN_NEGATIVES = Table({"query": "row", "document": "row"}, key=_PAIR, order=_PAIR)
# Instructions of training queries that their source brings; they stand in place of the task's. Where it has any.
INSTRUCTIONS = Table({"query": "row", "instruction": "str"}, key=("query",), order=("query",))
# The source's own teacher scores of these pairs, where it brings any, on the source's scale.
SOURCE_SCORES = Table({"query": "row", "document": "row", "score": "float"}, key=_PAIR, order=_PAIR)
CANDIDATES = Table(
    {
        "query": "row",
        "document": "row",
        "bm25_rank": "int?",
        "bm25_score": "float?",
        "dense_rank": "int?",
        "dense_score": "float?",
        "fused_score": "float",
    },
    key=_PAIR,
    order=_PAIR,
)
TEACHER_SCORES = Table(
    {**CANDIDATES.columns, "fused_score": "float?", "reranker_score": "float", "relevance": "float"},
    key=_PAIR,
    order=_PAIR,
)
TRIPLETS = Table(
    {
        "query": "row",
        "positive": "row",
        "positive_score": "float",
        "negatives": "rows",
        "negative_scores": "floats",
        "weight": "float?",  # of the positive's loss; null = 1
    },
    key=("query", "positive"),
    order=("query", "positive"),
)
REJECTIONS = Table(
    {
        "query": "row",
        "document": "row",
        "reason": "str",
        "score": "float?",  # the teacher's raw score
        "scale": "str?",  # of what the rule compared: probability, raw, relevance, overlap or rank
        "compared": "float?",
        "threshold": "float?",
    },
    key=_PAIR,
    order=_PAIR,
)
JUDGEMENTS = Table(
    {
        "query": "row",
        "document": "row",
        "purpose": "str",  # why the pair was judged: positive, random, margin, relabel or suspicious
        "score": "float?",  # the teacher's raw score; null for a random document
        "judge": "str",  # the model, by its name in fetch.models
        "judge_score": "float",
        "judge_threshold": "float",
        "relevant": "int",  # 1: judge_score is at least judge_threshold
    },
    key=(*_PAIR, "purpose"),
    order=(*_PAIR, "purpose"),
)


def number_rows(frame: pl.DataFrame, table: Table) -> pl.DataFrame:
    """Rows of CORPUS or QUERIES in their order, with their numbers as first column `row`."""
    return frame.drop("row", strict=False).sort(table.order).with_row_index("row")


def name_by_row(pairs: pl.DataFrame, queries: pl.DataFrame, corpus: pl.DataFrame) -> pl.DataFrame:
    """Replace query_id and doc_id by the rows `query` and `document`; sorted by both. An unknown id becomes null."""
    return (
        pairs.join(queries.select("query_id", query="row"), on="query_id", how="left")
        .join(corpus.select("doc_id", document="row"), on="doc_id", how="left")
        .select("query", "document", pl.exclude("query", "document", "query_id", "doc_id"))
        .sort("query", "document")
    )


def write_table(frame: pl.DataFrame, path: Path, table: Table) -> None:
    """Check `frame` against `table` and write it; same rows, same bytes. Raises UserError when a check fails."""
    frame = check_rows(frame, str(path), table)
    path.parent.mkdir(parents=True, exist_ok=True)
    groups = ROW_GROUP if table.order else None
    frame.write_parquet(path, compression="zstd", statistics=bool(table.order), row_group_size=groups)


def read_table(path: Path, table: Table, columns: Sequence[str] | None = None) -> pl.DataFrame:
    """Read and check a table, or some of its columns.

    Raises:
        UserError: the table breaks its contract; names file, row and field.
    """
    frame = _read(path, pl.scan_parquet(path), columns)
    return check_rows(frame, str(path), table if columns is None else table.only(columns))


def read_rows(path: Path, table: Table, start: int, stop: int, columns: Sequence[str] | None = None) -> pl.DataFrame:
    """The rows of a table of pairs whose `query` is in start ... stop - 1, checked; reads only their row groups.

    Raises:
        UserError: these rows break the table's contract.
    """
    rows = pl.scan_parquet(path).filter((pl.col("query") >= start) & (pl.col("query") < stop))
    return check_rows(_read(path, rows, columns), str(path), table if columns is None else table.only(columns))


def read_task(
    path: Path, table: Table, task: str, columns: Sequence[str], split: str | None = None, first: int | None = None
) -> pl.DataFrame:
    """Some columns of one task's rows of CORPUS or QUERIES, checked; reads only their row groups.

    Args:
        split: rows of this split only. first: so many rows only.

    Raises:
        UserError: these rows break the table's contract.
    """
    rows = pl.scan_parquet(path).filter(pl.col("task") == task)
    rows = rows if split is None else rows.filter(pl.col("split") == split)
    rows = rows if first is None else rows.head(first)
    own = table.only(columns)
    kinds = {name: "row" if kind == "position" else kind for name, kind in own.columns.items()}  # not all rows are here
    return check_rows(_read(path, rows, columns), str(path), replace(own, columns=kinds))


def name_of_row(path: Path, row: int) -> str:
    """The user's id of a row of corpus.parquet or queries.parquet, quoted for a message; the row if there is none."""
    found = id_of_row(path, row)
    return str(row) if found is None else repr(found)


def id_of_row(path: Path, row: int) -> str | None:
    """The user's id of a row of corpus.parquet or queries.parquet."""
    name = next(name for name in ("doc_id", "query_id") if name in pl.read_parquet_schema(path))
    found = pl.scan_parquet(path).filter(pl.col("row") == row).select(name).collect()
    return str(found.item()) if len(found) else None


def _read(path: Path, rows: pl.LazyFrame, columns: Sequence[str] | None) -> pl.DataFrame:
    if not path.is_file():
        raise UserError(f"{path}: missing; run the stage that writes it (dvc repro)")
    try:
        for column in set(columns or ()) - set(pl.read_parquet_schema(path)):
            raise UserError(f"{path}: field {column} is missing; run the stage that writes it again")
        return (rows if columns is None else rows.select(columns)).collect()
    except pl.exceptions.PolarsError as problem:
        raise UserError(f"{path}: not a readable Parquet file: {' '.join(str(problem).split())}") from None


def check_rows(frame: pl.DataFrame, name: str, table: Table) -> pl.DataFrame:
    """The columns of `table` with their types. Raises UserError naming file, row and field."""
    nullable = [column for column, kind in table.columns.items() if kind.endswith("?")]
    frame = frame.with_columns(pl.lit(None).alias(column) for column in nullable if column not in frame.columns)
    missing = [column for column in table.columns if column not in frame.columns]
    if missing:
        raise UserError(f"{name}: field {missing[0]} is missing; expected {', '.join(table.columns)}")
    columns = []
    for column, kind in table.columns.items():
        columns.append(_checked_column(frame[column], name, column, kind))
    checked = pl.DataFrame(columns)
    if table.key and table.key != table.order:
        duplicated = checked.select(pl.struct(table.key).is_duplicated().arg_true()).to_series()
        if len(duplicated):
            raise _duplicate(checked, name, table.key, duplicated[-1])
    if table.order:
        check_order(checked, name, table.order)
    return checked


def check_order(frame: pl.DataFrame, name: str, order: tuple[str, ...]) -> None:
    """Raise UserError unless each row is greater than the one before."""
    greater, equal = pl.lit(False), pl.lit(True)
    for column in order:
        before = pl.col(column).shift()
        greater |= equal & (pl.col(column) > before)
        equal &= pl.col(column) == before
    wrong = frame.lazy().select((~greater).alias("wrong"), equal.alias("equal")).slice(1).collect()
    if not wrong["wrong"].any():
        return
    row = wrong["wrong"].arg_true()[0]
    if wrong["equal"][row]:
        raise _duplicate(frame, name, order, row + 1)
    raise UserError(f"{name}: row {row + 1}: field {'+'.join(order)}: not sorted; run the stage that writes it again")


def _duplicate(frame: pl.DataFrame, name: str, key: tuple[str, ...], row: int) -> UserError:
    value = ", ".join(str(frame[column][row]) for column in key)
    return UserError(f"{name}: row {row}: field {'+'.join(key)}: duplicate {value!r}; ids must be unique")


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
    if not bad.any() and kind == "position":
        bad, what = typed != pl.int_range(len(typed), dtype=pl.UInt32, eager=True), "is not the number of the row"
    if bad.any():
        raise UserError(f"{name}: row {bad.arg_true()[0]}: field {column}: {what}; correct or remove the row")
    return typed
