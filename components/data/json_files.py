"""Row iterators for JSON Lines, and for files that are one JSON document."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.base.errors import UserError
from components.base.short_lines import describe_exception
from components.config import SourceParams
from components.data.cells import Raw, list_names
from components.data.json_stream import JsonStream, unique_keys
from components.data.layouts import recognise
from components.data.text_files import find_encoding, open_text, read_lines

ONE_DOCUMENT = "the file looks like one JSON document: set format: json"


def jsonl_rows(path: Path, params: SourceParams) -> Iterator[Raw]:
    """One JSON object per line."""
    loads = json.JSONDecoder(object_pairs_hook=unique_keys).decode
    for number, line in read_lines(path, params):
        try:
            values = loads(line)
        except json.JSONDecodeError as problem:
            raise UserError(f"{path}: row {number}: not valid JSON ({problem.msg}); {_cure(line, problem)}") from None
        except (RecursionError, ValueError) as problem:
            raise UserError(
                f"{path}: row {number}: not readable JSON ({describe_exception(problem)}); correct the line"
            ) from None
        if not isinstance(values, dict):
            objects = isinstance(values, list) and values and isinstance(values[0], dict)
            cure = ONE_DOCUMENT if objects else "expected one object per line, with a name for each text"
            raise UserError(f"{path}: row {number}: not a JSON object; {cure}")
        yield Raw(path, number, values)


def _cure(line: str, problem: json.JSONDecodeError) -> str:
    """The cure for a line that is no JSON."""
    if line.strip() in ("[", "{"):
        return ONE_DOCUMENT
    rest = line[problem.pos :].lstrip()
    if problem.msg != "Extra data":
        return "correct or remove the line"
    if "\r" in line:
        return "its lines end in a carriage return alone: save it with line feeds"
    if rest.startswith("{"):
        return "it holds several objects: set format: json"
    return "remove the comma at its end" if rest == "," else "correct or remove the line"


def json_rows(path: Path, params: SourceParams) -> Iterator[Raw]:
    """A JSON document: a list of objects, an object that holds one, or columns; or objects one after the other.

    Lists are read an element at a time, columns whole. Objects on lines of their own are JSON Lines under that name.
    """
    encoding = find_encoding(path, params)
    with open_text(path, encoding) as handle:
        stream = JsonStream(path, handle)
        first = stream.peek()
        if first == "[":
            yield from _rows(path, stream.elements())
            stream.end()
            return
        found = _scan_object(path, stream) if first == "{" else None
        several = found is not None and stream.peek() == "{"
        lines = several and found is not None and found.one_line and stream.line > found.line
        if found and not several:
            stream.end()
    if lines:
        yield from jsonl_rows(path, params)
        return
    with open_text(path, encoding) as handle:
        stream = JsonStream(path, handle)
        if several:
            yield from _rows(path, _values(stream))
            return
        if found and found.rows is not None:
            for key in stream.names():
                if key == found.rows:
                    yield from _rows(path, stream.elements())
                else:
                    stream.value()
            return
        document = stream.value()
        stream.end()
    yield from _rows(path, _objects(path, document))


def _values(stream: JsonStream) -> Iterator[Any]:
    while stream.peek():
        yield stream.value()


def _rows(path: Path, objects: Iterable[Any]) -> Iterator[Raw]:
    for number, values in enumerate(objects, start=1):
        if not isinstance(values, dict):
            raise UserError(f"{path}: row {number}: holds a {type(values).__name__}, expected an object with columns")
        yield Raw(path, number, values)


@dataclass(frozen=True)
class _Scanned:
    """Of the first object of a file: the key of its one list of objects, if it has one, and where the object ends."""

    rows: str | None
    one_line: bool
    line: int


def _scan_object(path: Path, stream: JsonStream) -> _Scanned:
    """Read an object without keeping its lists. Raises a UserError if several of them are lists of objects."""
    begin = stream.line
    lists: list[str] = []
    types: dict[str, type] = {}
    lengths: set[int] = set()
    for key in stream.names():
        if stream.peek() == "[":
            types[key] = list
            first, length = _drain(stream.elements())
            lengths.add(length)
            if isinstance(first, dict):
                lists.append(key)
        else:
            types[key] = type(stream.value())
    known = bool(set(recognise(list(types))) - {"squad"})
    one_row = known and next(iter(types.values())) is str
    are_columns = known and len(lengths) == 1 and set(types.values()) == {list}
    if len(lists) > 1 and not (one_row or are_columns):
        what = f"holds {len(lists)} lists of objects ({list_names(lists)})"
        raise UserError(f"{path}: {what}; write each to a file of its own, or one list with a column split")
    rows = lists[0] if lists and not (one_row or are_columns) else None
    return _Scanned(rows, stream.line == begin, stream.line)


def _drain(elements: Iterator[Any]) -> tuple[Any, int]:
    """The first element, None if there is none, and the number of elements."""
    first, number = None, 0
    for number, one in enumerate(elements, start=1):
        first = one if number == 1 else first
    return first, number


def _objects(path: Path, document: Any) -> list[Any]:
    """The rows of a document that is no list of objects and holds none."""
    if isinstance(document, dict):
        _refuse_keyed_rows(path, document)
        if set(recognise(list(document))) - {"squad"} and isinstance(next(iter(document.values())), str):
            return [document]
        columns = [list(one.values()) if isinstance(one, dict) else one for one in document.values()]
        if columns and all(isinstance(one, list) and len(one) == len(columns[0]) for one in columns):
            _refuse_other_keys(path, document)
            return [dict(zip(document, row, strict=True)) for row in zip(*columns, strict=True)]
        if all(not isinstance(one, (list, dict)) for one in document.values()):
            return [document]
    has = f"; it has {list_names(document)}" if isinstance(document, dict) else ""
    cure = _inner_list(document) or "write one object per line"
    raise UserError(f"{path}: neither a list of objects nor columns of one length{has}; {cure}")


def _refuse_keyed_rows(path: Path, document: dict[str, Any]) -> None:
    """Objects by the key of their row (pandas' orient index), which look like columns by the key of theirs."""
    inner = next(iter(document.values()), None)
    if isinstance(inner, dict) and recognise(list(inner)) and not recognise(list(document)):
        what = f"an object for each row by its key, the first with {list_names(inner)}"
        raise UserError(f"{path}: {what}; write the objects as a list, or one per line")


def _inner_list(document: Any) -> str:
    """How to bring the list of objects that lies deeper, as in a search engine's answer; empty if there is none."""
    outer = document.items() if isinstance(document, dict) else ()
    for name, values in outer:
        for inner, value in values.items() if isinstance(values, dict) else ():
            if isinstance(value, list) and value and isinstance(value[0], dict):
                return f"its rows lie in {name}.{inner}: write that list to a file of its own"
    return ""


def _refuse_other_keys(path: Path, document: dict[str, Any]) -> None:
    """pandas writes columns as {row: value}; the rows must be the same in each."""
    keyed = [list(one) for one in document.values() if isinstance(one, dict)]
    if any(keys != keyed[0] for keys in keyed):
        raise UserError(f"{path}: columns of different rows; write one object per line")


def squad_rows(rows: Iterator[Raw]) -> Iterator[Raw]:
    """SQuAD's questions with their contexts, nested or flat; a question without an answer has score 0."""
    for raw in rows:
        if "paragraphs" not in raw.values:
            yield _answered(raw, raw.values)
            continue
        for paragraph in _list_of(raw, raw.values, "paragraphs"):
            for question in _list_of(raw, paragraph, "qas"):
                shared = {"title": raw.values.get("title"), "context": paragraph.get("context")}
                yield _answered(raw, {**shared, **question})


def _list_of(raw: Raw, values: dict[str, Any], name: str) -> list[dict[str, Any]]:
    found = values.get(name)
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise raw.error(name, "missing or not a list of objects, as SQuAD has them; correct the file")
    return found


def _answered(raw: Raw, values: dict[str, Any]) -> Raw:
    """The row without its answers, with the score that they mean."""
    given = values.get("answers")
    if "answers" in values:
        values = {**values, "score": float(bool(given.get("text") if isinstance(given, dict) else given))}
    unread = ("answers", "plausible_answers", "is_impossible")
    return Raw(raw.file, raw.row, {name: value for name, value in values.items() if name not in unread})
