"""A raw source row (file, row number, values) and readers for its text and number cells."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.base.errors import UserError

INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff"  # zero-width characters; a text of these only is empty


@dataclass(frozen=True)
class Raw:
    """One unconverted row with its file and row number."""

    file: Path
    row: int  # from 1, header not counted
    values: dict[str, Any]

    def error(self, column: str, what: str) -> UserError:
        """A one-line error that names this row and the column as the file calls it."""
        return UserError(f"{self.file}: row {self.row}: field {column}: {what}")


def read_number(raw: Raw, column: str, value: Any) -> float:
    """Cell as a finite float. Raises UserError naming row and column for anything else."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise raw.error(column, f"not a number: {value!r}; correct the row, or map it with `values`") from None
    if number != number or number in (float("inf"), float("-inf")):
        raise raw.error(column, "not a finite number; correct or remove the row")
    return number


def read_text(raw: Raw, column: str, value: Any) -> str:
    """Cell as stripped text, empty for null and NaN. Raises UserError naming row and column if it is not text.

    Numbers and booleans become text, since labels and ids are often numbers; bytes are decoded as UTF-8.
    """
    if is_null(value):
        return ""
    if isinstance(value, bytes):
        value = _decoded(raw, column, value)
    if not isinstance(value, (str, int, float)):
        raise raw.error(column, f"holds a {type(value).__name__}, expected text; correct `fields` or the file")
    text = str(value).strip()
    try:
        text.encode()
    except UnicodeEncodeError as problem:
        half = ascii(text[problem.start])[1:-1]
        raise raw.error(column, f"holds an unpaired surrogate ({half}); correct or remove the row") from None
    return text if text.strip(INVISIBLE) else ""


def is_null(value: Any) -> bool:
    """Whether a cell is empty: null, or the NaN that pandas writes for it."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def _decoded(raw: Raw, column: str, value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise raw.error(column, "holds bytes that are not utf-8 text; write the column as text") from None
