"""One JSON document read piece by piece, so that memory holds one element of a list and not the file.

Elements are decoded by Python's json, with its rules (NaN, surrogates) and messages.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from components.base.errors import UserError
from components.base.short_lines import describe_exception

_PIECE = 1 << 20  # letters read at once
_NEAR_END = 16  # letters before the end of the buffer from where on a fault may be a cut word, number or escape
_SPACE = " \t\n\r"


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object of these keys and values, for Python's json. Raises ValueError for a key that occurs twice.

    >>> unique_keys([("a", 1), ("b", 2)])
    {'a': 1, 'b': 2}
    """
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"key {twice!r} occurs twice in an object")
    return found


_DECODER = json.JSONDecoder(object_pairs_hook=unique_keys)


class JsonStream:
    """The values of an open text file, one after the other; a fault is a UserError with its line."""

    def __init__(self, path: Path, handle: IO[str]) -> None:
        self._path, self._handle = path, handle
        self._text, self._at, self._line, self._ended = "", 0, 1, False

    @property
    def line(self) -> int:
        """The line that reading has reached."""
        return self._line + self._text.count("\n", 0, self._at)

    def peek(self) -> str:
        """The next letter that is no space; empty at the end of the file."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in _SPACE:
                self._at += 1
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._read_more():
                return ""

    def value(self) -> Any:
        """Decode the next value."""
        self.peek()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except json.JSONDecodeError as problem:
                if self._may_be_cut(problem) and self._read_more():
                    continue
                raise self._fault(problem.msg, problem.pos) from None
            except (RecursionError, ValueError) as problem:
                reason = describe_exception(problem)
                raise UserError(
                    f"{self._path}: line {self.line}: not readable JSON ({reason}); correct the file"
                ) from None
            cut = isinstance(value, (int, float)) and end >= len(self._text) - _NEAR_END
            if not (cut and self._read_more()):
                self._at = end
                return value

    def elements(self) -> Iterator[Any]:
        """Decode the elements of a list, one at a time."""
        self._take("[", "Expecting value")
        if self.peek() == "]":
            self._at += 1
            return
        while True:
            yield self.value()
            if self._take(",]", "Expecting ',' delimiter") == "]":
                return

    def names(self) -> Iterator[str]:
        """The keys of an object; the caller takes each value before the next key."""
        self._take("{", "Expecting value")
        if self.peek() == "}":
            self._at += 1
            return
        seen: set[str] = set()
        while True:
            if self.peek() != '"':
                raise self._fault("Expecting property name enclosed in double quotes", self._at)
            key: str = self.value()
            if key in seen:
                raise self._fault(f"key {key!r} occurs twice in an object", self._at)
            seen.add(key)
            self._take(":", "Expecting ':' delimiter")
            yield key
            if self._take(",}", "Expecting ',' delimiter") == "}":
                return

    def end(self) -> None:
        """Refuse what follows the document."""
        if self.peek():
            raise self._fault("Extra data", self._at)

    def _take(self, letters: str, otherwise: str) -> str:
        found = self.peek()
        if not found or found not in letters:
            raise self._fault(otherwise, self._at)
        self._at += 1
        return found

    def _may_be_cut(self, problem: json.JSONDecodeError) -> bool:
        return problem.msg.startswith("Unterminated string") or problem.pos >= len(self._text) - _NEAR_END

    def _read_more(self) -> bool:
        """Read as much again as is undecoded, and a piece at least; whether there was any."""
        if self._ended:
            return False
        piece = self._handle.read(max(_PIECE, len(self._text) - self._at))
        self._ended = not piece
        self._line += self._text.count("\n", 0, self._at)
        self._text, self._at = self._text[self._at :] + piece, 0
        return not self._ended

    def _fault(self, what: str, place: int) -> UserError:
        line = self._line + self._text.count("\n", 0, place)
        return UserError(
            f"{self._path}: line {line}: not valid JSON ({what}); correct the file, or set format: jsonl for one "
            "object a line"
        )
