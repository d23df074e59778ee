"""Row shapes: expand a file row (plain, parallel lists, or a query with positives and negatives) into rows of ours.

`lists` is mteb's layout of clustering and pair data (one row, parallel lists); `positives_and_negatives` is a query
with its documents, as lists or one text each. Positives become pairs of score 1, negatives of score 0; the scores that
a teacher gave them come along as `teacher_score`.
"""

from collections.abc import Callable, Iterator
from typing import Any

from components.config import SourceParams
from components.data.cells import MISSING, Raw, find_value, is_null, list_names, read_cell, read_number, read_text
from components.data.columns import BESIDE_LISTS, ColumnPlan
from components.data.counts import Counts
from components.data.layouts import LISTS, PASSAGE, find_columns

Values = dict[str, Any]  # by our column


def _one_row(raw: Raw, plan: ColumnPlan, params: SourceParams, counts: Counts) -> Iterator[Values]:
    if plan.single is not None:
        try:
            yield {ours: raw.values[theirs] for ours, theirs in plan.single.items()}
            return
        except KeyError:
            pass  # a nested column
    yield {ours: read_cell(raw, names) for ours, names in plan.found.items()}


def _parallel_lists(raw: Raw, plan: ColumnPlan, params: SourceParams, counts: Counts) -> Iterator[Values]:
    """[{a: [1, 2], b: [3, 4]}] -> {a: 1, b: 3}, {a: 2, b: 4}."""
    lists = {ours: read_cell(raw, names) for ours, names in plan.found.items()}
    for ours, values in lists.items():
        if not isinstance(values, list):
            raise raw.error(plan.labels[ours], f"holds a {type(values).__name__}, expected a list (shape: lists)")
    lengths = {plan.labels[ours]: len(values) for ours, values in lists.items()}
    if len(set(lengths.values())) > 1:
        raise raw.error(next(iter(lengths)), f"lists differ in length: {lengths}; correct the row")
    for values in zip(*lists.values(), strict=True):
        yield dict(zip(lists, values, strict=True))


def _positives_and_negatives(raw: Raw, plan: ColumnPlan, params: SourceParams, counts: Counts) -> Iterator[Values]:
    """One row per document: query, document, score (1 or 0) [, teacher_score, doc_id, and of the row BESIDE_LISTS]."""
    found = plan.found
    shared = {ours: read_cell(raw, found[ours]) for ours in BESIDE_LISTS if ours in found}
    if plan.cells == "instructed":
        shared |= _instructed(raw, plan.labels["query"], shared["query"], "query", "instruction")
    positives = _documents(raw, plan, params, "positive", None)
    negatives = _documents(raw, plan, params, "negative", params.negatives)
    if not any(one["document"] for one in positives):
        if not params.drop_empty:
            label = plan.labels.get("positives") or plan.labels["positive"]
            cure = "correct or remove the row, or set drop_empty: true"
            raise raw.error(label, f"empty; a query needs a positive: {cure}")
        positives, negatives = [{"document": ""}] * (1 + len(negatives)), []  # rows for drop_empty to drop and count
    counts.document_instructions += sum(bool(one.pop("own_instruction", "")) for one in (*positives, *negatives))
    for score, documents in ((1.0, positives), (0.0, negatives)):
        for one in documents:
            yield {**shared, **one, "score": score}


def _documents(raw: Raw, plan: ColumnPlan, params: SourceParams, side: str, limit: int | None) -> list[Values]:
    """The first `limit` documents of one side; empty ones stay only with drop_empty, which drops and counts them."""
    names = plan.found.get(f"{side}s") or plan.found.get(side) or ()
    cells: list[tuple[str, Any]] = []
    for name in names:
        value = find_value(raw.values, name)
        if f"{side}s" not in plan.found:
            cells.append((name, None if value is MISSING else value))
        elif not is_null(value) and value is not MISSING:
            if not isinstance(value, list):
                raise raw.error(name, "expected a list of texts; correct `fields` or the file")
            cells += [(f"{name}[{place}]", one) for place, one in enumerate(value)]
    is_checked = bool(cells) or side == "negative"  # a row without positives is refused or dropped as a whole
    scores = _scores(raw, plan, f"{side}_scores", len(cells)) if is_checked else None
    documents = []
    for place, (label, cell) in enumerate(cells[:limit]):
        one = _document(raw, plan, label, cell)
        if not (one["document"] or params.drop_empty):
            raise raw.error(label, "empty; correct or remove it, or set drop_empty: true")
        documents.append(one if scores is None else {**one, "teacher_score": scores[place]})
    return documents


def _document(raw: Raw, plan: ColumnPlan, label: str, value: Any) -> Values:
    if isinstance(value, dict) and plan.cells == "passages":
        found, missing = find_columns(PASSAGE, list(value))
        if missing:
            raise raw.error(label, f"a passage without a text; it has {list_names(value)}: correct the file")
        inner = Raw(raw.file, raw.row, {f"{label}.{name}": one for name, one in value.items()})
        read = {ours: read_cell(inner, [f"{label}.{name}" for name in names]) for ours, names in found.items()}
        return read | {"document": read_text(raw, f"{label}.text", read["document"])}
    if plan.cells == "instructed":
        return _instructed(raw, label, value, "document", "own_instruction")
    if not (is_null(value) or isinstance(value, (str, bytes))):
        cure = "format: tevatron reads passages" if isinstance(value, dict) else "correct the row"
        cure = "format: gritlm reads [instruction, text]" if isinstance(value, list) and len(value) == 2 else cure
        raise raw.error(label, f"holds a {type(value).__name__}, expected text; {cure}")
    return {"document": read_text(raw, label, value)}


def _instructed(raw: Raw, label: str, value: Any, column: str, instruction: str) -> Values:
    """The text of [instruction, text] under the name `column`, and its instruction; of a plain text only the former."""
    if isinstance(value, str):
        return {column: read_text(raw, label, value)}
    if not (isinstance(value, list) and len(value) == 2):
        raise raw.error(label, "expected [instruction, text]; correct the row")
    return {column: read_text(raw, label, value[1]), instruction: read_text(raw, f"{label}[0]", value[0])}


def _scores(raw: Raw, plan: ColumnPlan, column: str, documents: int) -> list[float | None] | None:
    """The teacher's scores of one side, one for each document; None where the row has none."""
    if column not in plan.found:
        return None
    name = plan.found[column][0]
    values = find_value(raw.values, name)
    if is_null(values) or values == []:
        return None
    if not isinstance(values, list) or len(values) != documents:
        has = f"{len(values)} scores" if isinstance(values, list) else f"a {type(values).__name__}"
        raise raw.error(name, f"{has} for {documents} documents; correct the row")
    return [None if is_null(one) else read_number(raw, f"{name}[{place}]", one) for place, one in enumerate(values)]


SHAPES: dict[str, Callable[[Raw, ColumnPlan, SourceParams, Counts], Iterator[Values]]] = {
    "rows": _one_row,
    "lists": _parallel_lists,
    LISTS: _positives_and_negatives,
}
