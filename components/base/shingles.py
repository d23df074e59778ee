"""Hashed words and word trigrams of many texts at once, with numpy.

A word or trigram is a stretch of the text's bytes. With a polynomial hash over all bytes of a block, the hash of every
stretch is a difference of two prefix sums, so a text of 100 words costs some ten microseconds, where a Python set of
strings costs a hundred. The sums wrap at 2**64. Equal stretches have equal hashes; the reverse is likely, not certain.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from components.base.overlap import SHINGLE

Item = TypeVar("Item")
_BASE = 0x9E3779B97F4A7C15  # odd, so that it has an inverse modulo 2**64
_INVERSE = pow(_BASE, -1, 1 << 64)
_SPACE = ord(" ")
_BLOCK = 1 << 20  # characters


class Hashes(NamedTuple):
    """Hashes of stretches, and the position of the text that each is from; in text order, repeats included."""

    hashes: np.ndarray
    texts: np.ndarray


def text_blocks(
    items: Iterable[Item], text_of: Callable[[Item], str], characters: int = _BLOCK
) -> Iterator[list[Item]]:
    """Lists of items with about so many characters of text together, so that a block's hashes fit in memory."""
    block: list[Item] = []
    size = 0
    for item in items:
        block.append(item)
        size += len(text_of(item))
        if size >= characters:
            yield block
            block, size = [], 0
    if block:
        yield block


def hash_words(texts: Sequence[str], *, min_bytes: int = 1) -> Hashes:
    """Hashes of the words between spaces; only spaces separate words.

    >>> found = hash_words(["b  a", "", " a"])
    >>> found.texts.tolist(), bool(found.hashes[1] == found.hashes[2])
    ([0, 0, 2], True)
    """
    parts = [text.encode() for text in texts]
    block = np.frombuffer(b" " + b" ".join(parts) + b" ", dtype=np.uint8)
    space = block == _SPACE
    begin = np.flatnonzero(space[:-1] & ~space[1:]) + 1
    end = np.flatnonzero(~space[:-1] & space[1:]) + 1
    kept = end - begin >= min_bytes
    begin, end = begin[kept], end[kept]
    lengths = np.fromiter((len(part) + 1 for part in parts), dtype=np.int64, count=len(parts))
    return Hashes(_hash_stretches(block, begin, end), np.searchsorted(np.cumsum(lengths), begin, side="left"))


def hash_shingles(normalised: Sequence[str], *, min_words: int) -> Hashes:
    """Hashed word trigrams of normalised texts (words separated by single spaces); none below `min_words` words.

    >>> found = hash_shingles(["a b c d", "b c d", "a b"], min_words=3)
    >>> found.texts.tolist(), bool(found.hashes[1] == found.hashes[2])
    ([0, 0, 1], True)
    """
    parts = [text.encode() for text in normalised]
    block = np.frombuffer(b" ".join(parts) + b" ", dtype=np.uint8)
    words = np.fromiter((part.count(b" ") + 1 for part in parts), dtype=np.int64, count=len(parts))
    ends = np.flatnonzero(block == _SPACE)  # of words; the last one of a text ends the text
    starts = np.concatenate([[0], ends[:-1] + 1])
    text = np.repeat(np.arange(len(parts)), words)
    first = np.flatnonzero((text[: -SHINGLE + 1] == text[SHINGLE - 1 :]) & (words >= min_words)[text[: -SHINGLE + 1]])
    return Hashes(_hash_stretches(block, starts[first], ends[first + SHINGLE - 1]), text[first])


def _hash_stretches(block: np.ndarray, begin: np.ndarray, end: np.ndarray) -> np.ndarray:
    powers, inverses = _powers(_BASE, len(block)), _powers(_INVERSE, len(block))
    sums = np.zeros(len(block) + 1, dtype=np.uint64)
    np.cumsum(block * powers, out=sums[1:])
    return mix_hashes((sums[end] - sums[begin]) * inverses[begin])


def _powers(base: int, number: int) -> np.ndarray:
    """1, base, base**2, ... modulo 2**64; made by doubling."""
    powers = np.ones(number, dtype=np.uint64)
    done = 1
    while done < number:
        size = min(done, number - done)
        np.multiply(powers[:size], np.uint64(pow(base, done, 1 << 64)), out=powers[done : done + size])
        done += size
    return powers


def mix_hashes(hashes: np.ndarray) -> np.ndarray:
    """Spread the hashes over all 64 bits (the finaliser of splitmix64, Steele and others 2014)."""
    hashes = (hashes ^ (hashes >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    hashes = (hashes ^ (hashes >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return hashes ^ (hashes >> np.uint64(31))
