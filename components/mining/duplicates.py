"""Near-duplicate detection: candidates that copy a positive.

Two texts are copies if they are equal except for case, punctuation and spaces; or if their sets of word trigrams
overlap by at least a threshold (Jaccard); or if they share most long words in any order (short words in between break
nearly every trigram). MinHash (Broder 1997, datasketch) estimates the overlap of each pair from 64 numbers per text;
likely pairs are then measured, so a listed overlap is exact.
"""

from collections.abc import Mapping

import numpy as np
import polars as pl

from components.base.overlap import distinct_words, jaccard, minhashes, normalise, word_ngrams

SAME_WORDS = 0.75  # least Jaccard overlap of the sets of long words
_LONG = 4  # letters of a long word
_FEWEST = 8  # words for trigrams, and long words
_PERMUTATIONS = 64
_SLACK = 0.2  # three standard errors of the estimate (each at most 0.063)
_CHUNK = 1 << 18  # pairs per batch


def near_duplicates(pairs: pl.DataFrame, texts: Mapping[int, str], threshold: float) -> pl.DataFrame:
    """Find the pairs of texts that are copies of each other.

    Args:
        pairs: left, right: rows of texts; each pair once.
        texts: text by row.
        threshold: least Jaccard overlap of word trigrams; for long words it is SAME_WORDS.

    Returns: left, right, overlap (of trigrams where they reach the threshold, else of long words; 1 for equal words),
        sorted.
    """
    rows = sorted({*pairs["left"], *pairs["right"]})
    place = {row: i for i, row in enumerate(rows)}
    words = [normalise(texts[row], punctuation=False) for row in rows]
    left = np.array([place[row] for row in pairs["left"]], dtype=np.int64)
    right = np.array([place[row] for row in pairs["right"]], dtype=np.int64)
    overlaps: dict[tuple[int, int], float] = {}
    trigrams = [word_ngrams(text, min_words=_FEWEST) for text in words]
    long_words = [distinct_words(text, min_letters=_LONG, min_words=_FEWEST) for text in words]
    for sets, least in ((trigrams, threshold), (long_words, SAME_WORDS)):
        sketches = np.array([sketch.hashvalues for sketch in minhashes(sets, _PERMUTATIONS)], dtype=np.uint64)
        for i in _likely(sketches, left, right, least):
            a, b = int(left[i]), int(right[i])
            overlap = 1.0 if words[a] == words[b] else jaccard(sets[a], sets[b])
            if overlap >= least:
                overlaps.setdefault((rows[a], rows[b]), overlap)
    found = [(*pair, overlap) for pair, overlap in overlaps.items()]
    schema = {"left": pl.UInt32, "right": pl.UInt32, "overlap": pl.Float64}
    return pl.DataFrame(sorted(found), schema=schema, orient="row")


def _likely(sketches: np.ndarray, left: np.ndarray, right: np.ndarray, threshold: float) -> np.ndarray:
    """Positions of the pairs whose estimated overlap is at least threshold - _SLACK (equal texts: 1)."""
    positions = []
    for start in range(0, len(left), _CHUNK):
        a, b = sketches[left[start : start + _CHUNK]], sketches[right[start : start + _CHUNK]]
        positions.append(start + np.flatnonzero((a == b).mean(axis=1) >= threshold - _SLACK))
    return np.concatenate(positions) if positions else np.empty(0, dtype=np.int64)
