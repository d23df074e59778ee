"""Our columns, and the file's columns that each of them is read from."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from components.base.errors import UserError
from components.config import SourceParams
from components.data.cells import Raw, list_names
from components.data.counts import Counts
from components.data.grades import refuse_unread_grade
from components.data.layouts import (
    COLLECTIONS,
    COLUMNS,
    FLAG,
    LAYOUTS,
    LISTS,
    Cells,
    Found,
    find_columns,
    find_stated,
    recognise,
)

TEXTS = ("query", "document", "text", "text1", "text2", "correct", "incorrect")
IN_LISTS = ("positives", "negatives", "positive", "negative", "positive_scores", "negative_scores")
BESIDE_LISTS = ("query", "query_id", "label", "split", "instruction")
MAY_BE_EMPTY = ("split", "instruction")
SPLITS = ("train", "dev", "test")
WHOLE = (("query", "document"), ("text", "label"), ("text1", "text2", "score"), ("text", "correct", "incorrect"))
WITH = {"label": ("text",), "score": ("text1", "query")}  # in every row or none, beside one of those columns
READ_UNDER_OUR_NAMES = (*COLLECTIONS, "documents_and_ratings")  # their readers map the columns


@dataclass(frozen=True)
class ColumnPlan:
    """How the rows with one set of columns are read: our column to the file's."""

    found: Found
    shape: str = "rows"
    cells: Cells = "texts"

    @cached_property
    def labels(self) -> dict[str, str]:
        """By our column, what an error calls it."""
        return {ours: " + ".join(names) for ours, names in self.found.items()}

    @cached_property
    def single(self) -> dict[str, str] | None:
        """Our column: the file's, where each is one column and none is nested."""
        plain = all(len(names) == 1 for names in self.found.values())
        return {ours: names[0] for ours, names in self.found.items()} if plain else None

    @cached_property
    def needed(self) -> frozenset[str]:
        """Of our columns, those that every row of the source must have then."""
        return needed_columns([*self.found, "document"] if self.shape == LISTS else self.found)


class Columns:
    """The plans of one source, one for each set of columns that its rows have."""

    def __init__(self, params: SourceParams, counts: Counts) -> None:
        self._params, self._counts = params, counts
        self._plans: dict[tuple[str, ...], ColumnPlan] = {}
        self._whole = False  # whether the source has shown what its rows hold
        known = _known_fields(params)
        for ours in params.fields:
            if ours not in known:
                raise UserError(f"fields.{ours}: not a column of ours; expected one of {', '.join(known)}")

    def plan(self, raw: Raw) -> ColumnPlan:
        """How this row is read. Raises UserError if its columns are not what the source needs."""
        key = (*raw.values, "\0pool") if raw.pool else tuple(raw.values)
        plan = self._plans.get(key)
        if plan is None:
            plan = self._plans[key] = self._new_plan(raw)
        return plan

    def _new_plan(self, raw: Raw) -> ColumnPlan:
        params = self._params
        if raw.pool or params.format in READ_UNDER_OUR_NAMES:
            lists = params.format == "corpus_and_ids" and not raw.pool
            return ColumnPlan({name: (name,) for name in raw.values}, LISTS if lists else "rows", "passages")
        plan = choose_layout(raw, params) if params.format in LAYOUTS else _own_plan(raw, params)
        if not self._whole:  # a later row that lacks a column is compared with the first
            _require_whole(raw, plan)
        if plan.shape == "rows":
            refuse_unread_grade(raw, plan.labels, params)
        self._whole = True
        self._counts.note_columns(raw.values, (name for names in plan.found.values() for name in names))
        return plan


def _known_fields(params: SourceParams) -> tuple[str, ...]:
    """The names that `fields` may hold."""
    if params.format == "documents_and_ratings":
        return ("documents", "ratings")
    if params.format in COLLECTIONS:
        parts = COLLECTIONS[params.format].values()
        names = tuple(dict.fromkeys(ours for part in parts for ours in part.columns))
        return (*names, *BESIDE_LISTS[2:], *IN_LISTS) if params.format == "corpus_and_ids" else names
    if params.shape == LISTS:
        return (*BESIDE_LISTS, *IN_LISTS)
    return (*COLUMNS, *IN_LISTS) if params.format in LAYOUTS else COLUMNS


def choose_layout(raw: Raw, params: SourceParams) -> ColumnPlan:
    """The first layout of the source's format whose columns this row has, with `fields` on top."""
    present = list(raw.values)
    of_rows = {ours: name for ours, name in params.fields.items() if ours not in ("doc_id", "document")}
    stated, gone = find_stated(of_rows if params.format == "corpus_and_ids" else params.fields, present)
    if gone:
        raise raw.error(gone[0], f"missing; the row has {list_names(present)}: correct `fields` or the file")
    lacking: list[str] = []
    for layout in LAYOUTS[params.format]:
        free = [name for name in present if (name,) not in stated.values()]
        specs = {**layout.columns, "split": "split?"}
        found, missing = find_columns({ours: spec for ours, spec in specs.items() if ours not in stated}, free)
        if not missing and layout.classes and "score" not in params.values:
            cure = f"set `values: {{score: {layout.classes}}}` to say which are positive, left out and negative"
            raise raw.error(found["score"][0], f"is a class of format {params.format}, no grade: {cure}")
        if not missing:
            return ColumnPlan(found | stated, layout.shape, layout.cells)
        lacking.append(", ".join(missing))
    what = f"missing for format {params.format}; the row has {list_names(present)}: correct the file or set `fields`"
    raise raw.error(" or ".join(dict.fromkeys(lacking)), what + _hint(present, params.format))


def _own_plan(raw: Raw, params: SourceParams) -> ColumnPlan:
    """The columns that `fields` names; without it those with our names, or FlagEmbedding's lists.

    A column `instruction` is something else in many files, so that one must be named.
    """
    present = list(raw.values)
    found, missing = find_stated(params.fields, present)
    if params.shape == LISTS and not missing:
        specs = {ours: spec for ours, spec in FLAG.items() if ours not in found}
        more, missing = find_columns(specs, present)
        found = more | found
    elif not found:
        found = {name: (name,) for name in present if name in COLUMNS and name != "instruction"}
        if not found:
            what = f"none is one of ours ({', '.join(COLUMNS)}); set `fields`"
            raise raw.error(list_names(present), what + _hint(present, params.format))
    if missing:
        raise raw.error(missing[0], f"missing; the row has {list_names(present)}: correct `fields` or the file")
    return ColumnPlan(found, params.shape)


def _require_whole(raw: Raw, plan: ColumnPlan) -> None:
    """Raise a UserError that tells what is missing if the columns make no row of any kind."""
    if plan.shape == LISTS or any(set(names) <= set(plan.found) for names in WHOLE):
        return
    if {"text1", "text2"} <= set(plan.found):
        cure = "name the grades, or for texts that belong together set `fields: {query: text1, document: text2}`"
        raise raw.error("score", f"missing beside text1 and text2: {cure}")
    kinds = "; or ".join(", ".join(names) for names in WHOLE)
    what = f"are the only columns of ours in this row, expected {kinds}; the row has {list_names(raw.values)}"
    raise raw.error(list_names(plan.found), f"{what}: set `fields`{_hint(list(raw.values), '')}")


def _hint(present: list[str], format: str) -> str:
    names = [name for name in recognise(present) if name != format]
    return f", or format: {names[0]}, which has these columns" if names else ""


def needed_columns(present: Iterable[str]) -> frozenset[str]:
    """Of a row's columns, those that every row of its source must have.

    >>> sorted(needed_columns(["query", "document", "label"])), sorted(needed_columns(["text", "label"]))
    (['document', 'query'], ['label', 'text'])
    """
    columns = set(present)
    return frozenset(name for name in columns if name in TEXTS or columns & set(WITH.get(name, ())))


def refuse_other_columns(first: Raw, needed: frozenset[str], raw: Raw, present: frozenset[str]) -> None:
    """Raise a UserError that names the row which lacks a column that the other has."""
    for one, other, lacks in ((raw, first, needed - present), (first, raw, present - needed)):
        for name in sorted(lacks):
            where = f"row {other.row}" if other.file == one.file else f"row {other.row} of {other.file.name}"
            cure = "correct the file, or set on_missing: skip" if name == "score" and one is raw else "correct the file"
            raise one.error(name, f"missing, and {where} has it; the row has {list_names(one.values)}: {cure}")
