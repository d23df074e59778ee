"""Sketches of many texts: small fixed-size arrays from which the overlap of any pair is estimated.

One-permutation MinHash (Li, Owen and Zhang 2012): each element of a set is hashed once; the hash's first bits name one
of 64 bins, and a bin keeps its smallest hash, cut to 16 bits. The share of equal bins among those that either set fills
estimates the Jaccard overlap, with a standard error of at most 1 / (2 sqrt(64)). A sketch takes 128 bytes for a text
of any length; words are split and hashed by polars, bins filled by numpy, so several threads compute at once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from components.base.overlap import SHINGLE, normalise
from components.base.shingles import mix_hashes
from components.base.threads import workers

BINS = 64
LONG = 4  # letters of a long word
FEWEST = 8  # words for trigrams, and distinct long words
_EMPTY = 0xFFFF  # value of a bin without an element
CHUNK = 1 << 12  # texts at once in a thread
_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # odd, with half of its bits set

Read = Callable[[np.ndarray], Sequence[str]]  # the texts at these places: int64 [n]
Elements = tuple[np.ndarray, np.ndarray]  # text of each element: int64 [n], its hash: uint64 [n]


@dataclass(frozen=True)
class Sketches:
    """Of n texts: the hash of all words in order, uint64 [n]; trigrams and long words, uint16 [n, 64] each."""

    equal: np.ndarray
    trigrams: np.ndarray
    long_words: np.ndarray


@dataclass(frozen=True)
class Words:
    """Normalised texts, cut into words: hash of each text, uint64 [n]; text, hash and letters of each word."""

    equal: np.ndarray
    text: np.ndarray
    hashes: np.ndarray
    letters: np.ndarray


def hash_texts(read: Read, number: int) -> np.ndarray:
    """uint64 [number]: hash of each normalised text, as in `Sketches.equal`."""
    parts = [_normalised(read(places)).hash().to_numpy() for places in _chunks(number)]
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.uint64)


def _chunks(number: int) -> list[np.ndarray]:
    return [np.arange(start, min(start + CHUNK, number)) for start in range(0, number, CHUNK)]


def _normalised(texts: Sequence[str]) -> pl.Series:
    return pl.Series([normalise(text, punctuation=False) for text in texts], dtype=pl.String)


def split_words(texts: Sequence[str]) -> Words:
    """Words of all texts, by the normalisation of components/base/overlap.py without punctuation."""
    plain = _normalised(texts)
    words = plain.str.split(" ")
    flat = words.explode(empty_as_null=False)
    text = np.repeat(np.arange(len(texts)), words.list.len().to_numpy())
    return Words(plain.hash().to_numpy(), text, flat.hash().to_numpy(), flat.str.len_chars().to_numpy())


def trigrams(words: Words) -> Elements:
    """Word trigrams of the texts of at least FEWEST words."""
    counts = np.bincount(words.text)
    last = len(words.text) - SHINGLE + 1
    if last <= 0:
        return words.text[:0], words.hashes[:0]
    inside = (words.text[:last] == words.text[SHINGLE - 1 :]) & (counts[words.text[:last]] >= FEWEST)
    places = np.flatnonzero(inside)
    mixed = np.zeros(len(places), dtype=np.uint64)
    for step in range(SHINGLE):
        mixed = (mixed ^ words.hashes[places + step]) * _FACTOR
        mixed ^= mixed >> np.uint64(29)
    return words.text[places], mix_hashes(mixed)


def long_words(words: Words) -> Elements:
    """Words of at least LONG letters, repeated ones included."""
    places = np.flatnonzero(words.letters >= LONG)
    return words.text[places], mix_hashes(words.hashes[places])


def sketch_texts(read: Read, number: int, threads: int) -> Sketches:
    """Sketches of all texts, computed in chunks over the threads."""
    sketches = Sketches(
        np.empty(number, dtype=np.uint64),
        np.full((number, BINS), _EMPTY, dtype=np.uint16),
        np.full((number, BINS), _EMPTY, dtype=np.uint16),
    )

    def fill(places: np.ndarray) -> None:
        words, own = split_words(read(places)), slice(int(places[0]), int(places[-1]) + 1)
        sketches.equal[own] = words.equal
        for elements, bins in ((trigrams(words), sketches.trigrams), (long_words(words), sketches.long_words)):
            _fill_bins(bins[own], *elements)

    with workers(threads) as pool:
        list(pool.map(fill, _chunks(number)))
    return sketches


def _fill_bins(bins: np.ndarray, text: np.ndarray, hashes: np.ndarray) -> None:
    """Lower each bin of `bins`, a view of uint16 [texts, 64], to the smallest hash that falls into it."""
    number = text * BINS + (hashes >> np.uint64(58)).astype(np.int64)
    value = ((hashes >> np.uint64(42)) & np.uint64(0xFFFF)).clip(max=_EMPTY - 1).astype(np.uint16)
    np.minimum.at(bins.reshape(-1), number, value)


def likely_pairs(bins: np.ndarray, left: np.ndarray, right: np.ndarray, least: float) -> np.ndarray:
    """Which pairs (rows of `bins`) have an estimated overlap of at least `least`: bool [pairs]."""
    a, b = bins[left], bins[right]  # uint16 [pairs, 64] each
    filled = (a != _EMPTY) | (b != _EMPTY)
    equal = (a == b) & (a != _EMPTY)
    return np.asarray(equal.sum(axis=1) >= least * np.maximum(1, filled.sum(axis=1))) & equal.any(axis=1)


ELEMENTS: dict[str, Callable[[Words], Elements]] = {"trigrams": trigrams, "long_words": long_words}
