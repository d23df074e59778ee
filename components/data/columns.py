"""Our columns, and the file's column that each of them is read from."""

from collections.abc import Iterable

from components.base.errors import UserError
from components.config import SourceParams
from components.data.cells import Raw

TEXTS = ("query", "document", "text", "label", "text1", "text2", "correct", "incorrect", "query_id", "doc_id", "split")
NUMBERS = ("score",)
LISTS = ("positives", "negatives")
COLUMNS = (*TEXTS, *NUMBERS)
SPLITS = ("train", "dev", "test")
ALWAYS = ("query", "document", "text", "text1", "text2", "correct", "incorrect")  # in every row, or in none
WITH = {"label": "text", "score": "text1"}  # likewise, beside that column; elsewhere a row may lack them


def needed_columns(present: Iterable[str]) -> frozenset[str]:
    """Of a row's columns, those that every row of its source must have.

    >>> sorted(needed_columns(["query", "document", "label"])), sorted(needed_columns(["text", "label"]))
    (['document', 'query'], ['label', 'text'])
    """
    columns = set(present)
    return frozenset(name for name in columns if name in ALWAYS or WITH.get(name) in columns)


def refuse_other_columns(first: Raw, needed: frozenset[str], raw: Raw, present: frozenset[str]) -> None:
    """Raise a UserError that names the row which lacks a column that the other has."""
    for one, other, lacks in ((raw, first, needed - present), (first, raw, present - needed)):
        for name in sorted(lacks):
            where = f"row {other.row}" if other.file == one.file else f"row {other.row} of {other.file.name}"
            raise one.error(name, f"missing, and {where} has it; the row has {', '.join(one.values)}: correct the file")


def map_columns(raw: Raw, params: SourceParams) -> dict[str, str]:
    """Our column -> the file's column, all of them present in this row."""
    named = params.fields
    if params.format == "documents_and_ratings" or params.shape == "positives_and_negatives":
        named = {}  # there, `fields` names the files or the lists, and the rows come under our names
    mapping = named or {name: name for name in raw.values if name in COLUMNS}
    if not mapping:
        raise raw.error(", ".join(raw.values), f"none is one of ours ({', '.join(COLUMNS)}); set `fields`")
    for ours, theirs in mapping.items():
        if ours not in COLUMNS:
            raise UserError(f"fields.{ours}: not a column of ours; expected one of {', '.join(COLUMNS)}")
        if theirs not in raw.values:
            raise raw.error(theirs, f"missing; the row has {', '.join(raw.values)}: correct `fields` or the file")
    return mapping
