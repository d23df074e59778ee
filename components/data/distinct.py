"""Distinct texts of a column, by number; the texts themselves stay in the column."""

import hashlib
from collections.abc import Iterator, Sequence
from typing import overload

import numpy as np
import polars as pl

from components.base.errors import UserError
from components.base.overlap import normalise
from components.base.scripts import cut_words

_BLOCK = 1 << 14  # texts that are Python strings at once


class DistinctTexts:
    """Texts that differ in more than case and spaces, numbered in the order of their first rows.

    A row with an id of the user's is known by the id. Only a digest of each text and the number of its first row are
    kept, some 150 bytes a text.
    """

    def __init__(self, column: pl.Series, ids: pl.Series | None = None, words: int | None = None) -> None:
        self._column, self._ids, self._words = column, ids, words
        self.numbers = np.full(len(column), -1, dtype=np.int64)  # by row; -1: the row has no text
        self._rows = np.array(self._number(), dtype=np.int64)

    def _number(self) -> list[int]:
        """Fill `numbers`; returns the first row of each number."""
        known: dict[str | bytes, int] = {}
        first: list[int] = []
        before: tuple[str | None, str | None] = (None, None)
        digests: list[bytes] = []  # of texts with an id
        for row, (text, identity) in enumerate(zip(_values(self._column), self._identities(), strict=True)):
            if text is None:
                continue
            if (text, identity) != before:
                before = (text, identity)
                cut = cut_words(text, self._words)
                digest = _digest(cut if identity is not None else normalise(cut, punctuation=True))
                number = known.setdefault(digest if identity is None else identity, len(first))
                if number == len(first):
                    first.append(row)
                    digests.append(digest)
                elif identity is not None and digests[number] != digest:
                    raise UserError(f"duplicate id {identity!r} with two texts; ids must be unique")
            self.numbers[row] = number
        return first

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
        """What tells these texts apart: the user's id, or the text in normal form."""
        numbers = np.asarray(numbers, dtype=np.int64)
        texts = (normalise(text, punctuation=True) for text in self.texts(numbers))
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
