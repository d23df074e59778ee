"""Row shapes: expand a file row (plain, parallel lists, or query with positives and negatives) into rows.

`lists` is mteb's layout of clustering and pair data (one row, parallel lists); `positives_and_negatives` is
FlagEmbedding's training row (query, pos, neg; its scores, prompt and type are ignored), as in the hub data set
cfli/bge-full-data. Its positives become pairs of score 1, its negatives of score 0.
"""

from collections.abc import Callable, Iterator
from typing import Any

from components.base.errors import UserError
from components.config import SourceParams
from components.data.cells import Raw, is_null, read_text
from components.data.columns import LISTS, map_columns


def _one_row(raw: Raw, params: SourceParams) -> Iterator[Raw]:
    yield raw


def _parallel_lists(raw: Raw, params: SourceParams) -> Iterator[Raw]:
    """[{a: [1, 2], b: [3, 4]}] -> {a: 1, b: 3}, {a: 2, b: 4}."""
    lists = {theirs: raw.values[theirs] for theirs in map_columns(raw, params).values()}
    for name, values in lists.items():
        if not isinstance(values, list):
            raise raw.error(name, f"holds a {type(values).__name__}, expected a list (shape: lists)")
    lengths = {name: len(values) for name, values in lists.items()}
    if len(set(lengths.values())) > 1:
        raise raw.error(next(iter(lengths)), f"lists differ in length: {lengths}; correct the row")
    for values in zip(*lists.values(), strict=True):
        yield Raw(raw.file, raw.row, dict(zip(lists, values, strict=True)))


def _positives_and_negatives(raw: Raw, params: SourceParams) -> Iterator[Raw]:
    """One row per document: query, document, score (1 or 0) [, label]. Default names are those of FlagEmbedding."""
    names = {"query": "query", "positives": "pos", "negatives": "neg", **params.fields}
    for ours, theirs in names.items():
        if ours not in ("query", "label", *LISTS):
            raise UserError(f"fields.{ours}: no column of this shape; expected query, label, {', '.join(LISTS)}")
        if theirs not in raw.values and ours != "negatives":
            raise raw.error(theirs, f"missing; the row has {', '.join(raw.values)}: correct `fields` or the file")
    shared: dict[str, Any] = {ours: raw.values[names[ours]] for ours in ("query", "label") if ours in names}
    positives = _texts(raw, names["positives"], params)
    if not any(positives):
        if not params.drop_empty:
            cure = "correct or remove the row, or set drop_empty: true"
            raise raw.error(names["positives"], f"empty; a query needs a positive: {cure}")
        positives, negatives = [""], list[str]()  # one row for drop_empty to drop and count
    else:
        negatives = _texts(raw, names["negatives"], params, params.negatives)
    for score, documents in ((1.0, positives), (0.0, negatives)):
        for document in documents:
            yield Raw(raw.file, raw.row, {**shared, "document": document, "score": score})


def _texts(raw: Raw, column: str, params: SourceParams, limit: int | None = None) -> list[str]:
    """The first `limit` texts of a list; empty ones are kept only with drop_empty, which drops and counts them."""
    values = raw.values.get(column)
    if is_null(values):
        return []
    if not isinstance(values, list):
        raise raw.error(column, "expected a list of texts; correct `fields` or the file")
    texts = []
    for place, value in enumerate(values[:limit]):
        if not (is_null(value) or isinstance(value, (str, bytes))):
            raise raw.error(f"{column}[{place}]", f"holds a {type(value).__name__}, expected text; correct the row")
        texts.append(read_text(raw, f"{column}[{place}]", value))
        if not (texts[-1] or params.drop_empty):
            raise raw.error(f"{column}[{place}]", "empty; correct or remove it, or set drop_empty: true")
    return texts


SHAPES: dict[str, Callable[[Raw, SourceParams], Iterator[Raw]]] = {
    "rows": _one_row,
    "lists": _parallel_lists,
    "positives_and_negatives": _positives_and_negatives,
}
