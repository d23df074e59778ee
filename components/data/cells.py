"""A raw source row (file, row number, values) and readers for its text, name and number cells."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.base.errors import UserError

INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff"  # zero-width characters; a text of these only is empty
MOST_SHOWN = 160  # letters of a list of columns in an error
MISSING = object()  # what `find_value` gives for a column that the row does not have


@dataclass(frozen=True)
class Raw:
    """One unconverted row with its file and row number."""

    file: Path
    row: int  # from 1, header not counted
    values: dict[str, Any]
    pool: bool = False  # a document that belongs to no query

    def error(self, column: str, what: str) -> UserError:
        """A one-line error that names this row and the column as the file calls it."""
        return UserError(f"{self.file}: row {self.row}: field {' '.join(column.split())}: {what}")


def list_names(names: Iterable[str]) -> str:
    """Names of columns for an error; the first ones of a file with very many.

    >>> list_names(["a", "b"]), list_names(str(number) for number in range(2000))[-25:]
    ('a, b', ' 39, 40, 41 and 1958 more')
    """
    every = [" ".join(str(name).split()) for name in names]
    text = ", ".join(every)
    if len(text) <= MOST_SHOWN:
        return text
    shown = text[:MOST_SHOWN].rpartition(", ")[0]
    number = shown.count(", ") + 1 if shown else 1
    return f"{shown or text[:MOST_SHOWN]} and {len(every) - number} more"


def find_value(values: Mapping[str, Any], name: str) -> Any:
    """The value of a column, or of a path into nested ones (`meta.text`); MISSING if there is none.

    >>> find_value({"meta": {"text": "a"}}, "meta.text"), find_value({"a.b": "c"}, "a.b")
    ('a', 'c')
    """
    if name in values:
        return values[name]
    found: Any = values
    for part in name.split("."):
        if not isinstance(found, dict) or part not in found:
            return MISSING
        found = found[part]
    return found


def read_cell(raw: Raw, names: Sequence[str]) -> Any:
    """The value of one column, or the texts of several joined by a space."""
    if len(names) == 1:
        value = find_value(raw.values, names[0])
        if value is MISSING:
            raise raw.error(names[0], f"missing; the row has {list_names(raw.values)}: correct `fields` or the file")
        return value
    return " ".join(text for name in names if (text := read_text(raw, name, read_cell(raw, (name,)))))


def read_number(raw: Raw, column: str, value: Any) -> float:
    """Cell as a finite float. Raises UserError naming row and column for anything else."""
    try:
        if isinstance(value, str) and "_" in value:
            raise ValueError("Python would read 1_0 as 10")
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        shown = repr(value)[:40]
        raise raw.error(column, f"not a number: {shown}; correct the row, or map it with `values`") from None
    if not math.isfinite(number):
        raise raw.error(column, "not a finite number; correct or remove the row")
    return number


def read_text(raw: Raw, column: str, value: Any) -> str:
    """Cell as stripped text, empty for null and NaN. Raises UserError naming row and column if it is not text.

    Bytes are decoded as UTF-8. A number, boolean, date or list is no text.
    """
    if isinstance(value, bytes):
        value = _decoded(raw, column, value)
    elif not isinstance(value, str):
        if is_null(value):
            return ""
        raise raw.error(column, f"holds a {type(value).__name__}, expected text; correct `fields` or the file")
    text = value.strip()
    if not text.isascii():
        _refuse_halves(raw, column, text)
        return text if text.strip(INVISIBLE) else ""
    return text


def read_name(raw: Raw, column: str, value: Any) -> str:
    """Like `read_text` for a label, id or split, which may be a number or boolean too.

    pandas writes whole numbers as 1.0 in a column with gaps; these are the id 1.
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return read_text(raw, column, str(value) if isinstance(value, (int, float)) and not is_null(value) else value)


def is_null(value: Any) -> bool:
    """Whether a cell is empty: null, or the NaN that pandas writes for it."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def _refuse_halves(raw: Raw, column: str, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as problem:
        half = ascii(text[problem.start])[1:-1]
        raise raw.error(column, f"holds an unpaired surrogate ({half}); correct or remove the row") from None


def _decoded(raw: Raw, column: str, value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise raw.error(column, "holds bytes that are not utf-8 text; write the column as text") from None
