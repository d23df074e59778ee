"""The files of one source -> rows with our column names, checked.

What a source may hold (all text is non-empty UTF-8 after reading):

    pairs        query, document [, score] [, label] [, split]  score: relevance, 0 = judged and not relevant
    labelled     text, label [, split]
    graded       text1, text2, score [, split]                  score: any scale, higher is closer
    summaries    text, correct, incorrect                       one faithful and one unfaithful summary
    collection   query_id, query, doc_id, document, score       a folder with corpus, queries and qrels; a document
                                                                without a query has query_id, query and score null

`fields` maps our column to the file's. A malformed row stops the stage with its file, row and field; `drop_empty`,
`drop_duplicates`, a value mapped to null and `max_rows` are the only ways to lose a row, and the data card counts them.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import polars as pl

from components.base.errors import UserError
from components.config import SourceParams
from components.data.cells import Raw, read_number, read_text
from components.data.columns import COLUMNS, NUMBERS, SPLITS, map_columns, needed_columns, refuse_other_columns
from components.data.origins import Files
from components.data.readers import READERS
from components.data.shapes import SHAPES


@dataclass
class Counts:
    """How many rows were read, and how many the source's own rules left out."""

    read: int = 0
    dropped: dict[str, int] = field(default_factory=lambda: {"empty": 0, "duplicate": 0, "value": 0})


class _LeftOutError(Exception):
    """A rule of the source leaves this row out; its text is the rule's name in `Counts.dropped`."""


def read_source(files: Files, params: SourceParams) -> tuple[pl.DataFrame, Counts]:
    """Every row of a source under our column names, in file order.

    Raises:
        UserError: a malformed row, an empty text, an unknown value, or a column the file does not have.
    """
    counts, among = Counts(), _AmongOthers(params)
    frames: list[pl.DataFrame] = []
    rows: list[dict[str, Any]] = []
    for raw in islice(READERS[params.format](files, params), params.max_rows):
        for one in SHAPES[params.shape](raw, params):
            counts.read += 1
            try:
                row = _row(one, params)
                among.check(one, row)
            except _LeftOutError as rule:
                counts.dropped[str(rule)] += 1
                continue
            rows.append(row)
        if len(rows) >= _CHUNK:  # plain Python rows take several times the memory of a frame
            frames.append(_frame(rows))
            rows = []
    if not rows and not frames:
        raise UserError(f"{files.root}: no rows; check the source's path and format")
    return pl.concat([*frames, _frame(rows)], how="diagonal"), counts


_CHUNK = 100_000


class _AmongOthers:
    """A row beside the others of its source: it has the columns they have, and repeats none where that is a rule."""

    def __init__(self, params: SourceParams) -> None:
        self._params = params
        self._first: tuple[Raw, frozenset[str]] | None = None  # the first row, and what every row must have
        self._seen: set[tuple[Any, ...]] = set()

    def check(self, raw: Raw, row: dict[str, Any]) -> None:
        """Raise a UserError for a row that lacks a column, _LeftOutError when a rule of the source leaves it out."""
        needed = needed_columns(row)
        self._first = self._first or (raw, needed)
        if needed != self._first[1]:
            if self._params.drop_empty and needed < self._first[1]:
                raise _LeftOutError("empty")
            refuse_other_columns(*self._first, raw, needed)
        if self._params.drop_duplicates:
            identity = tuple(row.values())
            if identity in self._seen:
                raise _LeftOutError("duplicate")
            self._seen.add(identity)


def _frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    names = [name for name in COLUMNS if any(name in row for row in rows)]
    schema = {name: pl.Float64() if name in NUMBERS else pl.String() for name in names}
    return pl.DataFrame([{name: row.get(name) for name in names} for row in rows], schema=schema)


def _row(raw: Raw, params: SourceParams) -> dict[str, Any]:
    """Our columns of one row. Raises _LeftOutError when a rule of the source leaves it out."""
    row: dict[str, Any] = {}
    mapping = map_columns(raw, params)
    for ours, theirs in mapping.items():
        value = raw.values[theirs]
        if ours in params.values:
            value = _translated(raw, theirs, value, params.values[ours])
        if value is None and params.format == "collection":
            row[ours] = None
        elif ours in NUMBERS:
            row[ours] = read_number(raw, theirs, value)
        else:
            row[ours] = read_text(raw, theirs, value) or None
            if row[ours] is None and not _may_be_empty(ours, mapping):
                if params.drop_empty:
                    raise _LeftOutError("empty")
                raise raw.error(theirs, "empty; correct or remove the row, or set drop_empty: true")
    if row.get("split") not in (None, *SPLITS):
        raise raw.error("split", f"{row['split']!r} is not a split; expected {', '.join(SPLITS)}")
    return row


def _may_be_empty(column: str, present: Iterable[str]) -> bool:
    """A pair may lack its label, and any row its split."""
    return column == "split" or (column == "label" and "text" not in present)


def _translated(raw: Raw, column: str, value: Any, known: dict[str, str | None]) -> str:
    if str(value) not in known:
        raise raw.error(column, f"unexpected value {str(value)!r}; `values` knows {', '.join(known)}")
    kept = known[str(value)]
    if kept is None:
        raise _LeftOutError("value")
    return kept
