"""The files of one source -> rows with our column names, checked.

What a source may hold (all text is non-empty UTF-8 after reading):

    pairs        query, document [, score] [, label] [, split]  score: relevance, 0 = judged and not relevant
    labelled     text, label [, split]
    graded       text1, text2, score [, split]                  score: any scale, higher is closer
    summaries    text, correct, incorrect                       one faithful and one unfaithful summary
    collection   query_id, query, doc_id, document, score       corpus, queries and qrels; a document without a query
                                                                has query_id, query and score null

Pairs of a source that brings scores of a teacher have them in teacher_score, and those of a source whose rows bring
instructions of their own have them in instruction (null where a row has none).

`format` names a kind of file whose columns have our names (or those of `fields`), or a layout of layouts.py.
A malformed row stops the stage with its file, row and field; `drop_empty`, `drop_duplicates`, `on_missing`, a value
mapped to null and `max_rows` are the only ways to lose a row, and the data card counts them.
"""

import hashlib
from itertools import islice
from typing import Any

import polars as pl

from components.base.errors import UserError
from components.config import SourceParams
from components.data.cells import Raw, is_null, read_name, read_number, read_text
from components.data.columns import MAY_BE_EMPTY, SPLITS, TEXTS, ColumnPlan, Columns, refuse_other_columns
from components.data.counts import Counts
from components.data.grades import refuse_doubtful_grades
from components.data.layouts import COLUMNS, LISTS, NUMBERS
from components.data.origins import Files
from components.data.part_files import refuse_settings_of_other_files
from components.data.readers import READERS
from components.data.shapes import SHAPES, Values

ROWS_AT_ONCE = 100_000  # as plain values, before they become a frame


_AS_TEXT = frozenset((*TEXTS, "instruction"))  # a number is none


class _LeftOutError(Exception):
    """A rule of the source leaves this row out; its text is the rule's name in `Counts.dropped`."""


def read_source(files: Files, params: SourceParams) -> tuple[pl.DataFrame, Counts]:
    """Every row of a source under our column names, in file order.

    Raises:
        UserError: a malformed row, an empty text, an unknown value, a column the file does not have, or a setting
            without effect on these files.
    """
    try:
        return _read(files, params)
    except UserError as problem:
        raise files.outside_the_cache(problem) from None


def _read(files: Files, params: SourceParams) -> tuple[pl.DataFrame, Counts]:
    refuse_settings_of_other_files(files.names, params)
    counts = Counts()
    columns, among = Columns(params, counts), _AmongOthers(params)
    frames: list[pl.DataFrame] = []
    rows: list[dict[str, Any]] = []
    for raw in islice(READERS[params.format](files, params, counts), params.max_rows):
        plan = columns.plan(raw)
        for values in SHAPES[plan.shape](raw, plan, params, counts):
            counts.read += 1
            try:
                row = _row(raw, values, plan, params)
                among.check(raw, plan, row)
            except _LeftOutError as rule:
                counts.dropped[str(rule)] += 1
                continue
            if params.min_relevance is not None:
                counts.below += _below_to_zero(raw, plan, row, params.min_relevance)
            rows.append(row)
        if len(rows) >= ROWS_AT_ONCE:  # plain Python rows take several times the memory of a frame
            frames.append(_frame(rows))
            rows = []
    if among.first is None:
        raise UserError(_no_rows(files, counts))
    read = pl.concat([*frames, _frame(rows)], how="diagonal")
    for ours in params.values:
        if ours not in read.columns:
            raise UserError(
                f"values.{ours}: the source gives {', '.join(read.columns)}, not this; correct or remove it"
            )
    refuse_doubtful_grades(read, among.first[0], among.first[1].labels, params)
    return read, counts


def _no_rows(files: Files, counts: Counts) -> str:
    dropped = ", ".join(f"{number:,} {why}" for why, number in counts.dropped.items() if number)
    place = files.root / files.names[0] if len(files.names) == 1 else files.root
    if dropped:
        return f"{place}: no row is left of {counts.read:,} ({dropped}); correct the file, or the rules that drop rows"
    if counts.read:
        return f"{place}: {counts.read:,} documents and no pair or judgement of them; check the path and `files`"
    return f"{place}: no rows; check the source's path and format"


class _AmongOthers:
    """A row beside the others of its source: it has the columns they have, and repeats none where that is a rule."""

    def __init__(self, params: SourceParams) -> None:
        self._params = params
        self.first: tuple[Raw, ColumnPlan] | None = None  # the first row that is no document of a pool
        self._documents_have_ids = False
        self._seen: set[bytes] = set()  # 16 bytes for each row: the rows themselves would be most of the source

    def check(self, raw: Raw, plan: ColumnPlan, row: dict[str, Any]) -> None:
        """Raise a UserError for a row that lacks a column, _LeftOutError when a rule of the source leaves it out."""
        if raw.pool:
            if "pool" in self._params.files:
                self._check_pool(raw, row)
        elif self.first is None:
            self.first = raw, plan
        elif plan is not self.first[1] and plan.needed != self.first[1].needed:
            lacks = self.first[1].needed - plan.needed
            if lacks == {"score"} and self._params.on_missing == "skip":
                raise _LeftOutError("missing")
            if lacks != {"score"} and self._params.drop_empty and plan.needed < self.first[1].needed:
                raise _LeftOutError("empty")
            refuse_other_columns(self.first[0], self.first[1].needed, raw, plan.needed)
        self._documents_have_ids |= "doc_id" in row
        if self._params.drop_duplicates:
            identity = hashlib.sha256(repr(tuple(row.values())).encode("utf-8", "surrogatepass")).digest()[:16]
            if identity in self._seen:
                raise _LeftOutError("duplicate")
            self._seen.add(identity)

    def _check_pool(self, raw: Raw, row: dict[str, Any]) -> None:
        """Where rows have no ids, a document is its text, in the pool too."""
        if not self._documents_have_ids:
            row.pop("doc_id", None)
        elif row.get("doc_id") is None:
            raise raw.error("doc_id", "missing, and the documents of the pairs have ids; add it")


def _frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    present: set[str] = set().union(*rows)
    names = [name for name in COLUMNS if name in present]
    types = {name: pl.Float64() if name in NUMBERS else pl.String() for name in names}
    return pl.DataFrame([pl.Series(name, [row.get(name) for row in rows], dtype=types[name]) for name in names])


def _row(raw: Raw, values: Values, plan: ColumnPlan, params: SourceParams) -> dict[str, Any]:
    """Our columns of one row. Raises _LeftOutError when a rule of the source leaves it out."""
    row: dict[str, Any] = {}
    for ours, value in values.items():
        if ours in params.values:
            value = _translated(raw, plan.labels.get(ours, ours), value, params.values[ours])
        if value is None and (raw.pool or ours in (*MAY_BE_EMPTY, "teacher_score")):
            row[ours] = None
        elif ours in NUMBERS:
            row[ours] = _score(raw, plan.labels.get(ours, ours), value, params)
        else:
            read = read_text if ours in _AS_TEXT else read_name
            text = read(raw, plan.labels.get(ours, ours), value) or None
            if text is None and not (ours in MAY_BE_EMPTY or (ours == "label" and "text" not in values)):
                if params.drop_empty:
                    raise _LeftOutError("empty")
                what = "empty; correct or remove the row, or set drop_empty: true"
                raise raw.error(plan.labels.get(ours, ours), what)
            row[ours] = text
    if row.get("split") not in (None, *SPLITS):
        cure = "set `values: {split: {" + row["split"] + ": dev}}` or correct the row"
        raise raw.error("split", f"{row['split']!r} is not a split; expected {', '.join(SPLITS)}: {cure}")
    return row


def _score(raw: Raw, label: str, value: Any, params: SourceParams) -> float:
    """A grade. A pair without one is unjudged: `on_missing` says what becomes of it."""
    if params.on_missing == "skip" and (is_null(value) or value == ""):
        raise _LeftOutError("missing")
    if is_null(value) or value == "":
        raise raw.error(label, "empty; correct or remove the row, or set on_missing: skip")
    return read_number(raw, label, value)


def _below_to_zero(raw: Raw, plan: ColumnPlan, row: dict[str, Any], least: float) -> int:
    """Give a judgement below the least relevance the score 0; returns how many it were (0 or 1)."""
    if not raw.pool and (plan.shape == LISTS or not {"query", "score"} <= set(row)):
        raise UserError("min_relevance: needs pairs of query and document with a score of their own; remove it")
    if row.get("score") is None or not 0 < row["score"] < least:
        return 0
    row["score"] = 0.0
    return 1


def _translated(raw: Raw, column: str, value: Any, known: dict[str, str | None]) -> str:
    if str(value) not in known:
        raise raw.error(column, f"unexpected value {str(value)!r}; `values` knows {', '.join(known)}")
    kept = known[str(value)]
    if kept is None:
        raise _LeftOutError("value")
    return kept
