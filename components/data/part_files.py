"""The files of a source's parts (corpus, queries, judgements, pool), and their rows with the columns that are read."""

import fnmatch
from collections.abc import Iterator
from dataclasses import dataclass

from components.base.errors import UserError
from components.config import SourceParams
from components.config.types import differs_from_default
from components.data.cells import Raw, list_names, read_cell, read_name, read_text
from components.data.counts import Counts
from components.data.layouts import COLLECTIONS, LAYOUTS, Found, Part, find_columns, find_stated
from components.data.local_files import ENDINGS, bare_name
from components.data.origins import Files
from components.data.table_files import file_rows


@dataclass(frozen=True)
class PartRow:
    """A row of a part and the columns that its values are in."""

    raw: Raw
    found: Found

    def text(self, ours: str) -> str:
        """Text of a column of ours, titles joined to it; empty if there is none."""
        names = self.found[ours]
        return read_text(self.raw, " + ".join(names), read_cell(self.raw, names))

    def name(self, ours: str) -> str:
        """An id or a split as text, empty if the row has none."""
        names = self.found.get(ours)
        return read_name(self.raw, names[0], read_cell(self.raw, names)) if names else ""


def find_part(files: Files, params: SourceParams, part: str, known: Part) -> list[str]:
    """Names of the files of a part: what `files` states, else those of the layout; empty if there are none."""
    stated = params.files.get(part)  # type: ignore[call-overload]
    for pattern in (stated,) if stated else known.files:
        names = [
            name
            for name in files.names
            if name == pattern or fnmatch.fnmatchcase(name, pattern) or bare_name(name) == pattern
        ]
        if names:
            return names
    if stated:
        raise UserError(f"files.{part}: {stated!r} is not a file of the source ({_some(files.names)})")
    return []


def require_part(files: Files, params: SourceParams, part: str, known: Part) -> list[str]:
    """`find_part`; raises a UserError if there are none."""
    names = find_part(files, params, part, known)
    if not names:
        what = f"no {' or '.join(known.files[:2])}; {params.format} needs {part} (here are {_some(files.names)})"
        others = [name for name in COLLECTIONS if name != params.format and _is_whole(files, params, name)]
        cure = f"set format: {others[0]}" if others else f"name it in `files: {{{part}: ...}}`"
        raise UserError(f"{files.root}: {what}: {cure}")
    return names


def _is_whole(files: Files, params: SourceParams, format: str) -> bool:
    return all(find_part(files, params, part, known) for part, known in COLLECTIONS[format].items())


def part_rows(
    files: Files, names: list[str], params: SourceParams, part: str, known: Part, counts: Counts
) -> Iterator[PartRow]:
    """Rows of a part. Raises UserError for one that lacks a column."""
    plans: dict[tuple[str, ...], Found] = {}
    header = params.columns.get(part) or known.header  # type: ignore[call-overload]
    for name in names:
        for raw in file_rows(files.root / name, params, header if _has_no_header(name, params, part) else (), part):
            key = tuple(raw.values)
            if key not in plans:
                plans[key] = _part_columns(raw, params, known)
                if not header or params.columns:
                    counts.note_columns(raw.values, (one for found in plans[key].values() for one in found))
            yield PartRow(raw, plans[key])


def _has_no_header(name: str, params: SourceParams, part: str) -> bool:
    if part in params.columns or params.format == "trec":
        return True
    return params.format == "corpus_and_ids" and part != "rows" and bare_name(name).endswith(ENDINGS["tsv"])


def _part_columns(raw: Raw, params: SourceParams, known: Part) -> Found:
    present = list(raw.values)
    stated, gone = find_stated({ours: name for ours, name in params.fields.items() if ours in known.columns}, present)
    found, missing = find_columns({ours: spec for ours, spec in known.columns.items() if ours not in stated}, present)
    if gone or missing:
        is_row = any(name.lstrip("-").isdigit() for name in present)
        cure = "its first line is a row, so state `columns`" if is_row else "correct the file or set `fields`"
        what = f"missing; the row has {list_names(present)}: {cure}"
        raise raw.error((gone + missing)[0], what)
    return found | stated


def refuse_settings_of_other_files(names: list[str], params: SourceParams) -> None:
    """Raise a UserError for a setting of delimited or text files where a layout's files are none."""
    if params.format not in (*LAYOUTS, *COLLECTIONS):
        return
    bare = [bare_name(name) for name in names]
    other = (*ENDINGS["parquet"], ".arrow")
    if all(name.endswith((*ENDINGS["jsonl"], *other)) for name in bare):
        for setting in ("delimiter", "quotes", "columns"):
            if differs_from_default(params, setting):
                raise UserError(f"{setting} has no effect, as no file is csv or tsv ({_some(names)}); remove it")
    if differs_from_default(params, "encoding") and all(name.endswith(other) for name in bare):
        raise UserError(f"encoding has no effect, as no file is text ({_some(names)}); remove it")


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
