"""Distinct texts of a column, by number; the texts themselves stay in the column."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import overload

import numpy as np
import polars as pl

from components.base.errors import UserError
from components.base.overlap import normalise
from components.base.scripts import cut_words
from components.data.splits import split_key

_BLOCK = 1 << 14  # texts that are Python strings at once


class DistinctTexts:
    """Distinct texts as they are written, numbered in the order of their first rows.

    A row with an id of the user's is known by the id. Only a digest of each text and the number of its first row are
    kept, some 150 bytes a text.

    Attributes:
        numbers: int64 by row; -1: the row has no text.
        same: int64 by number: the first text that is the same but for case, spaces and character forms (of texts with
            an id: the very same); splits keep such texts together.
        respelled: rows that give an id's text with other case or spaces; its first form is taken.
    """

    def __init__(self, column: pl.Series, ids: pl.Series | None = None, words: int | None = None) -> None:
        self._column, self._ids, self._words = column, ids, words
        self.numbers = np.full(len(column), -1, dtype=np.int64)
        self.respelled = 0
        self._first: list[int] = []  # row of each number
        self._same: list[int] = []
        self._number()
        self._rows, self.same = (np.array(one, dtype=np.int64) for one in (self._first, self._same))
        del self._first, self._same

    @property
    def variants(self) -> int:
        """Texts that differ from an earlier one by case, spaces, character forms or id only."""
        return int((self.same != np.arange(len(self))).sum())

    def _number(self) -> None:
        before: tuple[str | None, str | None] = (None, None)
        number, forms, named = -1, _Forms(self._first_text), _Named(self._first_text)
        for row, (text, identity) in enumerate(zip(_values(self._column), self._identities(), strict=True)):
            if text is None:
                continue
            if (text, identity) != before:
                before, cut = (text, identity), cut_words(text, self._words)
                if identity is None:
                    number, same = forms.find(cut, len(self._first))
                else:
                    number, same, respelled = named.find(identity, cut, len(self._first), row)
                    self.respelled += respelled
                if number == len(self._first):
                    self._first.append(row)
                    self._same.append(same)
            self.numbers[row] = number

    def _first_text(self, number: int) -> tuple[str, int]:
        row = self._first[number]
        return cut_words(self._column[row], self._words), row

    def _identities(self) -> Iterator[str | None]:
        return _values(self._ids) if self._ids is not None else iter([None] * len(self._column))

    def __len__(self) -> int:
        return len(self._rows)

    def series(self, numbers: Sequence[int] | np.ndarray) -> pl.Series:
        """The texts of these numbers, cut to `words` words."""
        found = self._column.gather(self._rows[np.asarray(numbers, dtype=np.int64)])
        if self._words is None:
            return found
        return pl.Series((cut_words(text, self._words) for text in found), dtype=pl.String)

    def of_first_rows(self, column: pl.Series) -> pl.Series:
        """The value that another column has at the first row of each text."""
        return column.gather(self._rows)

    def texts(self, numbers: Sequence[int] | np.ndarray) -> list[str]:
        """`series` as strings."""
        return self.series(numbers).to_list()

    def keys(self, numbers: Sequence[int] | np.ndarray) -> list[str]:
        """Keys that the splits are hashed from: the user's id, or the text without case and repeated spaces."""
        numbers = np.asarray(numbers, dtype=np.int64)
        texts = (split_key(text) for text in self.texts(numbers))
        if self._ids is None:
            return list(texts)
        ids = self._ids.gather(self._rows[numbers])
        return [text if identity is None else identity for identity, text in zip(ids, texts, strict=True)]

    def names(self, numbers: Sequence[int] | np.ndarray, prefix: str) -> pl.Series:
        """Ids for our tables: PREFIX-ID with an id of the user's, PREFIX-dNUMBER (the last letter is the side's) else.

        Args:
            prefix: the task's name, a hyphen and the letter of the side: `boolq-d`.
        """
        numbers = np.asarray(numbers, dtype=np.int64)
        numbered = prefix + pl.Series(numbers, dtype=pl.Int64).cast(pl.String).str.zfill(6)
        if self._ids is None:
            return numbered
        ids = self._ids.gather(self._rows[numbers])
        frame = pl.DataFrame({"own": prefix[:-1] + ids, "numbered": numbered})
        return frame.select(pl.coalesce("own", "numbered")).to_series()


FirstText = Callable[[int], tuple[str, int]]  # the text of a number, and its row


class _Forms:
    """Numbers of texts without ids: by their normal form, and by their spelling where a form has several rows."""

    def __init__(self, first_text: FirstText) -> None:
        self._first_text = first_text
        self._by_form: dict[bytes, int] = {}
        self._by_spelling: dict[bytes, int] = {}
        self._repeated: set[int] = set()

    def find(self, text: str, new: int) -> tuple[int, int]:
        """(number, first number of the same form); the number is `new` if the text is."""
        same = self._by_form.setdefault(_digest(normalise(text, punctuation=True)), new)
        if same == new:
            return new, new
        if same not in self._repeated:
            self._repeated.add(same)
            self._by_spelling[_digest(self._first_text(same)[0])] = same
        return self._by_spelling.setdefault(_digest(text), new), same


class _Named:
    """Numbers of texts with ids."""

    def __init__(self, first_text: FirstText) -> None:
        self._first_text = first_text
        self._by_id: dict[str, tuple[int, bytes]] = {}
        self._by_text: dict[bytes, int] = {}

    def find(self, identity: str, text: str, new: int, row: int) -> tuple[int, int, bool]:
        """(number, first number of the same text, whether this row spells the id's text in another way)."""
        digest = _digest(text)
        number, known = self._by_id.setdefault(identity, (new, digest))
        if number == new:
            return new, self._by_text.setdefault(digest, new), False
        if known != digest:
            first, its_row = self._first_text(number)
            if normalise(first, punctuation=True) != normalise(text, punctuation=True):
                raise UserError(
                    f"duplicate id {identity!r} with two texts, in rows {its_row + 1} and {row + 1}; ids must be unique"
                )
        return number, number, known != digest


class TextsAt(Sequence[str]):
    """The texts of these numbers as a collection that is read in blocks, so that they are not all in memory."""

    def __init__(self, texts: DistinctTexts, numbers: np.ndarray) -> None:
        self._texts, self._numbers = texts, numbers

    def __len__(self) -> int:
        return len(self._numbers)

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self._numbers), _BLOCK):
            yield from self._texts.texts(self._numbers[start : start + _BLOCK])

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> list[str]: ...
    def __getitem__(self, place: int | slice) -> str | list[str]:
        if isinstance(place, slice):
            return self._texts.texts(self._numbers[place])
        return self._texts.texts(self._numbers[[place]])[0]


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def _values(column: pl.Series) -> Iterator[str | None]:
    for start in range(0, len(column), _BLOCK):
        yield from column[start : start + _BLOCK].to_list()
