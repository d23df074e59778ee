"""Source readers, one per format: each streams the raw rows of a source's files."""

import csv
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from components.base.errors import UserError
from components.config import SourceParams
from components.data.cells import Raw
from components.data.collection import read_collection
from components.data.columns import COLUMNS
from components.data.origins import Files
from components.data.table_files import jsonl_rows, parquet_rows
from components.data.text_files import find_encoding, open_text, read_lines


def read_jsonl(files: Files, params: SourceParams) -> Iterator[Raw]:
    """One JSON object per line."""
    for path in files.paths():
        yield from jsonl_rows(path, params)


def read_csv(files: Files, params: SourceParams) -> Iterator[Raw]:
    """Comma-separated with a header; quotes as RFC 4180."""
    yield from _delimited(files, params, delimiter=",", quoting=csv.QUOTE_MINIMAL)


def read_tsv(files: Files, params: SourceParams) -> Iterator[Raw]:
    """Tab-separated with a header; quotes are ordinary characters."""
    yield from _delimited(files, params, delimiter="\t", quoting=csv.QUOTE_NONE)


def _delimited(files: Files, params: SourceParams, delimiter: str, quoting: int) -> Iterator[Raw]:
    csv.field_size_limit(1 << 30)
    for path in files.paths():
        with open_text(path, find_encoding(path, params), newline="") as handle:
            # strict: else an unclosed quote would swallow the rest of the file
            reader = csv.reader(handle, delimiter=delimiter, quoting=quoting, strict=True)  # type: ignore[arg-type]
            number = 0
            try:
                header = _header(path, next(reader, []), params)
                for number, cells in enumerate(reader, start=1):
                    if number <= params.skip_rows or not cells:
                        continue
                    if len(cells) != len(header):
                        what = f"{len(cells)} cells, the header has {len(header)}"
                        raise UserError(f"{path}: row {number}: {what}; correct or remove the row")
                    yield Raw(path, number, dict(zip(header, cells, strict=True)))
            except csv.Error as problem:
                what = f"a quote is not closed, or text follows a closing quote ({problem})"
                cure = "correct the row, or double the quotes inside a cell"
                raise UserError(f"{path}: row {number + 1}: {what}; {cure}") from None


def _header(path: Path, cells: list[str], params: SourceParams) -> list[str]:
    """Column names, stripped. Raises UserError for a duplicate."""
    names = [cell.strip() for cell in cells]
    for name in params.fields.values() or COLUMNS:
        if names.count(name) > 1:
            raise UserError(f"{path}: the header names column {name!r} twice; rename or remove one")
    return names


def read_parquet(files: Files, params: SourceParams) -> Iterator[Raw]:
    """Parquet, read in batches."""
    for path in files.paths():
        yield from parquet_rows(path)


def read_text_lines(files: Files, params: SourceParams) -> Iterator[Raw]:
    """One record per line, parsed by `pattern` (a regular expression with named groups)."""
    if not params.pattern:
        raise UserError("pattern: a text_lines source needs a regular expression with named groups")
    try:
        pattern = re.compile(params.pattern)
    except re.error as problem:
        raise UserError(f"pattern: not a regular expression: {problem}; correct it") from None
    for path in files.paths():
        for number, line in read_lines(path, params):
            match = pattern.fullmatch(line.strip())
            if not match:
                raise UserError(f"{path}: row {number}: does not match `pattern`; correct the line or the pattern")
            yield Raw(path, number, match.groupdict())


def read_text_folders(files: Files, params: SourceParams) -> Iterator[Raw]:
    """One text per file; the folder name is the label."""
    for name, path in zip(files.names, files.paths(), strict=True):
        folder, _, _ = name.rpartition("/")
        if not folder:
            raise UserError(f"{path}: is not in a folder; a text_folders source has one folder per label")
        with open_text(path, find_encoding(path, params)) as handle:
            text = " ".join(handle.read().split())
        yield Raw(path, 1, {"text": text, "label": folder.rpartition("/")[2]})


def read_documents_and_ratings(files: Files, params: SourceParams) -> Iterator[Raw]:
    """Two files: one document per line, and the upper triangle of a tab-separated rating matrix.

    `fields` names them: {documents: file, ratings: file}. Yields text1, text2, score for every pair i < j.
    """
    chosen = {}
    for part in ("documents", "ratings"):
        name = params.fields.get(part)
        if name is None or name not in files.names:
            raise UserError(f"fields.{part}: {name!r} is not a file of the source ({', '.join(files.names)})")
        chosen[part] = files.root / name
    documents = [line for _, line in read_lines(chosen["documents"], params)]
    for number, line in read_lines(chosen["ratings"], params):
        cells = line.split("\t")
        if len(cells) != len(documents) or number > len(documents):
            what = f"{len(cells)} ratings for {len(documents)} documents"
            raise UserError(f"{chosen['ratings']}: row {number}: {what}; the matrix is square")
        for column in range(number, len(documents)):
            values = {"text1": documents[number - 1], "text2": documents[column], "score": cells[column]}
            yield Raw(chosen["ratings"], number, values)


def read_hub(files: Files, params: SourceParams) -> Iterator[Raw]:
    """A hub data set in any layout; `datasets` finds the files of the configuration and split."""
    from datasets import load_dataset

    split = params.split or "train"
    try:
        rows = load_dataset(str(files.root), params.config, split=split, streaming=True)
        for number, values in enumerate(rows, start=1):
            yield Raw(files.root, number, values)
    except (ValueError, OSError) as problem:  # raised by `datasets` for an unknown configuration, split or file
        reason = " ".join(str(problem).split())[:160]
        raise UserError(f"{files.root}: config {params.config!r}, split {split!r}: {reason}") from None


READERS: dict[str, Callable[[Files, SourceParams], Iterator[Raw]]] = {
    "jsonl": read_jsonl,
    "csv": read_csv,
    "tsv": read_tsv,
    "parquet": read_parquet,
    "text_lines": read_text_lines,
    "text_folders": read_text_folders,
    "documents_and_ratings": read_documents_and_ratings,
    "collection": read_collection,
    "hub": read_hub,
}
