"""Row iterators for JSON Lines, and for files that are one JSON document."""

import json
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from components.base.errors import UserError
from components.config import SourceParams
from components.data.cells import Raw
from components.data.json_stream import JsonStream
from components.data.layouts import recognise
from components.data.text_files import find_encoding, open_text, read_lines

ONE_DOCUMENT = "the file looks like one JSON document: set format: json"


def jsonl_rows(path: Path, params: SourceParams) -> Iterator[Raw]:
    """One JSON object per line."""
    loads = json.JSONDecoder().decode
    for number, line in read_lines(path, params):
        try:
            values = loads(line)
        except json.JSONDecodeError as problem:
            cure = ONE_DOCUMENT if line.strip() in ("[", "{") else "correct or remove the line"
            raise UserError(f"{path}: row {number}: not valid JSON ({problem.msg}); {cure}") from None
        except (RecursionError, ValueError) as problem:
            raise UserError(f"{path}: row {number}: not readable JSON ({_short(problem)}); correct the line") from None
        if not isinstance(values, dict):
            cure = ONE_DOCUMENT if isinstance(values, list) else "expected one object per line"
            raise UserError(f"{path}: row {number}: not a JSON object; {cure}")
        yield Raw(path, number, values)


def json_rows(path: Path, params: SourceParams) -> Iterator[Raw]:
    """A JSON document: a list of objects, an object that holds one, or columns; or JSON Lines under that name.

    Lists are read an element at a time, columns whole.
    """
    encoding = find_encoding(path, params)
    with open_text(path, encoding) as handle:
        stream = JsonStream(path, handle)
        first = stream.peek()
        if first == "[":
            yield from _rows(path, stream.elements())
            stream.end()
            return
        found = _scan_object(stream) if first == "{" else None
        lines = found is not None and found.one_line and bool(stream.peek()) and stream.line > found.line
        if found and not lines:
            stream.end()
    if lines:
        yield from jsonl_rows(path, params)
        return
    with open_text(path, encoding) as handle:
        stream = JsonStream(path, handle)
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


def _scan_object(stream: JsonStream) -> _Scanned:
    """Read an object without keeping its lists."""
    begin = stream.line
    lists: list[str] = []
    types: dict[str, type] = {}
    for key in stream.names():
        if stream.peek() == "[":
            types[key] = list
            if any(isinstance(one, dict) for one in _drained(stream.elements())):
                lists.append(key)
        else:
            types[key] = type(stream.value())
    one_row = bool(set(recognise(list(types))) - {"squad"}) and next(iter(types.values())) is str
    return _Scanned(lists[0] if len(lists) == 1 and not one_row else None, stream.line == begin, stream.line)


def _drained(elements: Iterator[Any]) -> list[Any]:
    """The first element, if any; all are read."""
    first = list(islice(elements, 1))
    deque(elements, maxlen=0)
    return first


def _objects(path: Path, document: Any) -> list[Any]:
    """The rows of a document that is no list of objects and holds none."""
    if isinstance(document, dict):
        if set(recognise(list(document))) - {"squad"} and isinstance(next(iter(document.values())), str):
            return [document]
        columns = [list(one.values()) if isinstance(one, dict) else one for one in document.values()]
        if columns and all(isinstance(one, list) and len(one) == len(columns[0]) for one in columns):
            _refuse_other_keys(path, document)
            return [dict(zip(document, row, strict=True)) for row in zip(*columns, strict=True)]
        if all(not isinstance(one, (list, dict)) for one in document.values()):
            return [document]
    has = f"; it has {', '.join(document)}"[:200] if isinstance(document, dict) else ""
    cure = _inner_list(document) or "write one object per line"
    raise UserError(f"{path}: neither a list of objects nor columns of one length{has}; {cure}")


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


def _short(problem: Exception) -> str:
    return " ".join(str(problem).split())[:120]
