"""What one row of a file holds: a row of ours, parallel lists of them, or a query with its positives and negatives.

`lists` is how mteb packs clustering and pair data (one row, parallel lists); `positives_and_negatives` is
FlagEmbedding's training row (query, pos, neg, and scores, prompt and type that we leave: teacher and prompts are ours),
as in the hub data set cfli/bge-full-data. Its positives become pairs of score 1, its negatives of score 0.
"""

from collections.abc import Callable, Iterator
from typing import Any

from components.base.errors import UserError
from components.config import SourceParams
from components.data.cells import Raw
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
    """One row a document: query, document, score (1 or 0) [, label]. FlagEmbedding's own names are the default."""
    names = {"query": "query", "positives": "pos", "negatives": "neg", **params.fields}
    for ours, theirs in names.items():
        if ours not in ("query", "label", *LISTS):
            raise UserError(f"fields.{ours}: no column of this shape; expected query, label, {', '.join(LISTS)}")
        if theirs not in raw.values and ours != "negatives":
            raise raw.error(theirs, f"missing; the row has {', '.join(raw.values)}: correct `fields` or the file")
    shared: dict[str, Any] = {ours: raw.values[names[ours]] for ours in ("query", "label") if ours in names}
    positives = _texts(raw, names["positives"])
    if not positives:
        raise raw.error(names["positives"], "empty; a query needs a positive: correct or remove the row")
    negatives = _texts(raw, names["negatives"])[: params.negatives]
    for score, documents in ((1.0, positives), (0.0, negatives)):
        for document in documents:
            yield Raw(raw.file, raw.row, {**shared, "document": document, "score": score})


def _texts(raw: Raw, column: str) -> list[str]:
    values = raw.values.get(column)
    if values is None:
        return []
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise raw.error(column, "expected a list of texts; correct `fields` or the file")
    return values


SHAPES: dict[str, Callable[[Raw, SourceParams], Iterator[Raw]]] = {
    "rows": _one_row,
    "lists": _parallel_lists,
    "positives_and_negatives": _positives_and_negatives,
}
