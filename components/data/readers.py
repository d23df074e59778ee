"""Source readers, one per format: each streams the raw rows of a source's files."""

import re
from collections.abc import Callable, Iterator

from components.base.errors import UserError
from components.base.short_lines import describe_exception
from components.config import SourceParams
from components.config.fetch import COLLECTIONS, LAYOUTS, TABLES
from components.data.cells import Raw
from components.data.collection import Entry, pool_row, read_collection
from components.data.corpus_ids import read_corpus_and_ids
from components.data.counts import Counts
from components.data.json_files import squad_rows
from components.data.layouts import POOL, Part
from components.data.local_files import fit_format
from components.data.origins import Files
from components.data.part_files import find_part, part_rows
from components.data.table_files import file_rows, is_saved, saved_rows
from components.data.text_files import find_encoding, open_text, read_lines

ALL = Part((), {})  # rows that `files` names


def read_tables(files: Files, params: SourceParams, counts: Counts) -> Iterator[Raw]:
    """Files with a row for each record, each read by its kind; after them the documents of the pool."""
    pool = find_part(files, params, "pool", POOL) if "pool" in params.files else []
    rows = find_part(files, params, "rows", ALL) if "rows" in params.files else files.names
    if params.format in LAYOUTS:  # of a hub repository or package, no README; a local folder is without it already
        rows = fit_format(rows, params.format) or rows
    found = _rows_of(files, [name for name in rows if name not in pool], params)
    yield from squad_rows(found) if params.format == "squad" else found
    for row in part_rows(files, pool, params, "pool", POOL, counts):
        entry = Entry(row.text("document"), "", row.raw.file, row.raw.row)
        yield pool_row(entry, row.name("doc_id") or None)
    counts.skipped += [name for name in files.names if name not in (*rows, *pool)]


def _rows_of(files: Files, names: list[str], params: SourceParams) -> Iterator[Raw]:
    """Rows of these files, or of the saved data set that they are."""
    if params.format in LAYOUTS and is_saved(files.root):
        yield from saved_rows(files.root, params)
        return
    if params.split:
        raise UserError(f"split: {files.root} is no folder that save_to_disk wrote, which has splits; remove it")
    for name in names:
        yield from file_rows(files.root / name, params, params.columns.get("rows", ()))


def read_dataset(files: Files, params: SourceParams, counts: Counts) -> Iterator[Raw]:
    """A folder that save_to_disk wrote."""
    yield from saved_rows(files.root, params)


def read_text_lines(files: Files, params: SourceParams, counts: Counts) -> Iterator[Raw]:
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


def read_text_folders(files: Files, params: SourceParams, counts: Counts) -> Iterator[Raw]:
    """One text per file; the folder name is the label."""
    for name, path in zip(files.names, files.paths(), strict=True):
        folder, _, _ = name.rpartition("/")
        if not folder:
            raise UserError(f"{path}: is not in a folder; a text_folders source has one folder per label")
        with open_text(path, find_encoding(path, params)) as handle:
            text = " ".join(handle.read().split())
        yield Raw(path, 1, {"text": text, "label": folder.rpartition("/")[2]})


def read_documents_and_ratings(files: Files, params: SourceParams, counts: Counts) -> Iterator[Raw]:
    """Two files: one document per line, and the upper triangle of a tab-separated rating matrix.

    `fields` names them: {documents: file, ratings: file}. Yields text1, text2, score for every pair i < j.
    """
    chosen = {}
    for part in ("documents", "ratings"):
        name = params.fields.get(part)
        if not isinstance(name, str) or name not in files.names:
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


def read_hub(files: Files, params: SourceParams, counts: Counts) -> Iterator[Raw]:
    """A hub data set in any layout; `datasets` finds the files of the configuration and split."""
    from datasets import load_dataset

    split = params.split or "train"
    try:
        rows = load_dataset(str(files.root), params.config, split=split, streaming=True)
        for number, values in enumerate(rows, start=1):
            yield Raw(files.root, number, values)
    except (ValueError, OSError) as problem:  # raised by `datasets` for an unknown configuration, split or file
        reason = describe_exception(problem)
        raise UserError(f"{files.root}: config {params.config!r}, split {split!r}: {reason}") from None


READERS: dict[str, Callable[[Files, SourceParams, Counts], Iterator[Raw]]] = {
    **dict.fromkeys((*TABLES, *LAYOUTS), read_tables),
    **dict.fromkeys(COLLECTIONS, read_collection),
    "corpus_and_ids": read_corpus_and_ids,
    "dataset": read_dataset,
    "text_lines": read_text_lines,
    "text_folders": read_text_folders,
    "documents_and_ratings": read_documents_and_ratings,
    "hub": read_hub,
}
