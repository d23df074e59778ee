"""Row iterators for delimited text: csv and tsv files with a header line or stated columns, and TREC's judgements."""

import csv
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from components.base.errors import UserError
from components.config import SourceParams
from components.data.cells import Raw
from components.data.layouts import COLUMNS, FLAG
from components.data.text_files import find_encoding, open_text, read_lines

DELIMITERS = (",", ";", "\t", "|")
SWALLOWED = 8  # lines of a cell from which it is looked at
SEPARATOR = re.compile(r"sep=(.)")  # Excel's first line, where it is there


def delimited_rows(path: Path, params: SourceParams, kind: str, header: Sequence[str] = ()) -> Iterator[Raw]:
    """Rows of a csv or tsv file; its first line is the header unless `header` gives the columns."""
    csv.field_size_limit(1 << 30)
    encoding = find_encoding(path, params)
    with open_text(path, encoding, newline="") as handle:
        delimiter, is_said = _delimiter(handle.readline(), params, kind, len(header))
    with open_text(path, encoding, newline="") as handle:  # again: not every compression can be read from the start
        if is_said:
            handle.readline()
        quoted = kind == "csv" if params.quotes is None else params.quotes
        quoting = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
        # strict: else an unclosed quote would swallow the rest of the file
        reader = csv.reader(handle, delimiter=delimiter, quoting=quoting, strict=True)  # type: ignore[arg-type]
        number = 0
        try:
            names = list(header) or _header(path, next(reader, []), params)
            line = reader.line_num
            for number, cells in enumerate(reader, start=1):
                if reader.line_num - line > SWALLOWED and _holds_rows(cells, delimiter):
                    what = f"a quoted cell spans {reader.line_num - line} lines that look like rows"
                    raise UserError(f"{path}: row {number}: {what}: its quote is not closed; close or remove it")
                line = reader.line_num
                if number <= params.skip_rows or not cells:
                    continue
                if cells[-1] == names[-1] and [cell.strip("\ufeff ") for cell in cells] == names:
                    raise UserError(f"{path}: row {number}: repeats the header, as joined files do; remove the line")
                if len(cells) != len(names):
                    raise UserError(f"{path}: row {number}: {_wrong_number(cells, names, header, delimiter)}")
                yield Raw(path, number, dict(zip(names, cells, strict=True)))
        except csv.Error as problem:
            what = f"a quote is not closed, or text follows a closing quote ({problem})"
            cure = "correct the row, or double the quotes inside a cell"
            raise UserError(f"{path}: row {number + 1}: {what}; {cure}") from None


def whitespace_rows(path: Path, params: SourceParams, header: Sequence[str]) -> Iterator[Raw]:
    """Lines of cells without spaces, as TREC writes judgements: spaces or tabs between them, no header."""
    for number, line in read_lines(path, params):
        cells = line.split()
        if len(cells) != len(header):
            raise UserError(f"{path}: row {number}: {_wrong_number(cells, header, header, ' ')}")
        yield Raw(path, number, dict(zip(header, cells, strict=True)))


def first_cells(path: Path, params: SourceParams, kind: str) -> list[str]:
    """The cells of the first line, which may be the header; empty if the file is."""
    encoding = find_encoding(path, params)
    with open_text(path, encoding, newline="") as handle:
        delimiter, is_said = _delimiter(handle.readline(), params, kind, 0)
    with open_text(path, encoding, newline="") as handle:
        if is_said:  # Excel's sep= line is none
            handle.readline()
        csv.field_size_limit(1 << 30)
        quoting = csv.QUOTE_NONE if kind == "tsv" else csv.QUOTE_MINIMAL
        reader = csv.reader(handle, delimiter=delimiter, quoting=quoting)  # type: ignore[arg-type]
        return [cell.strip() for cell in next(reader, [])]


def _delimiter(first: str, params: SourceParams, kind: str, stated: int) -> tuple[str, bool]:
    """The delimiter, and whether the first line is Excel's `sep=;`, which is no row."""
    said = SEPARATOR.fullmatch(first.strip("\r\n"))
    if kind == "csv" and said:
        return said[1], True
    if params.delimiter or kind == "tsv":
        return params.delimiter or "\t", False
    plain = re.sub(r'"[^"]*"', "", first)
    if stated:
        return next((one for one in DELIMITERS if plain.count(one) == stated - 1), ","), False
    return max(DELIMITERS, key=plain.count), False


def _header(path: Path, cells: list[str], params: SourceParams) -> list[str]:
    """Column names, stripped. Raises UserError for a name that occurs twice and may be read."""
    names = [cell.strip() for cell in cells]
    stated = {name for named in params.fields.values() for name in ([named] if isinstance(named, str) else named)}
    read = set(names) if params.format not in ("csv", "tsv") else stated or {*COLUMNS, *FLAG.values()}
    for name in filter(None, names):
        if names.count(name) > 1 and name in read:
            cure = "rename or remove one, or state `columns` if the first line is a row"
            raise UserError(f"{path}: the header names column {name!r} twice; {cure}")
    return [name or f"column {place}" for place, name in enumerate(names, start=1)]


def _holds_rows(cells: list[str], delimiter: str) -> bool:
    """Whether every line inside a cell has the delimiters of a row: a quote that opened it was closed by chance."""
    inner = max(cells, key=len).splitlines()[1:-1]
    return len(cells) > 1 and len(inner) >= SWALLOWED and all(line.count(delimiter) == len(cells) - 1 for line in inner)


def _wrong_number(cells: Sequence[str], names: Sequence[str], stated: Sequence[str], delimiter: str) -> str:
    has = f"{len(cells)} cells, "
    if stated:
        return f"{has}{len(names)} columns are stated ({', '.join(names)}); set the source's `columns`"
    if len(names) == 1:
        return f"{has}the header has 1: {names[0][:60]!r}; set the source's `delimiter`, it is {delimiter!r}"
    return f"{has}the header has {len(names)}; correct or remove the row"
