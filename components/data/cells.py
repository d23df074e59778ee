"""One row of a source as its file has it, and the text or number of one of its cells."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.base.errors import UserError


@dataclass(frozen=True)
class Raw:
    """One row as the file has it, and where it stands."""

    file: Path
    row: int  # from 1, header not counted
    values: dict[str, Any]

    def error(self, column: str, what: str) -> UserError:
        """A one-line error that names this row and the file's own column."""
        return UserError(f"{self.file}: row {self.row}: field {column}: {what}")


def read_number(raw: Raw, column: str, value: Any) -> float:
    """A finite number; a UserError names the row and column of anything else."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise raw.error(column, f"not a number: {value!r}; correct the row, or map it with `values`") from None
    if number != number or number in (float("inf"), float("-inf")):
        raise raw.error(column, "not a finite number; correct or remove the row")
    return number


def read_text(raw: Raw, column: str, value: Any) -> str:
    """Stripped text, empty for null; a UserError names the row and column of a list or an object."""
    if value is None:
        return ""
    if isinstance(value, (list, dict)):
        raise raw.error(column, f"holds a {type(value).__name__}, expected text; correct `fields`")
    return str(value).strip()
