"""Training texts that are in the evaluation data: found, listed with what they match, and taken out.

Two texts match when they are equal but for case, punctuation and spaces, or when the sets of their word trigrams
overlap by at least `threshold` (Jaccard). Overlapping pairs are proposed by MinHash and LSH (Broder 1997; Indyk and
Motwani 1998, through datasketch), then the true overlap decides: a listed match is never an estimate.
Texts of fewer than `MIN_WORDS` words are only compared for equality: short questions share most words by nature.
"""

from collections.abc import Iterator, Mapping

import numpy as np
import polars as pl
from datasketch import MinHash, MinHashLSH

from components.config import DecontaminateParams

SCHEMA = {"id": pl.String(), "matched_id": pl.String(), "method": pl.String(), "similarity": pl.Float64()}
MIN_WORDS = 8
_SHINGLE = 3  # words
_SEED = 1  # of the hash permutations; any number will do, as long as it stays


def bare(text: str) -> str:
    """Case-folded words without punctuation; the text itself when nothing would be left.

    >>> bare("Is  Earth (the planet) ROUND?")
    'is earth the planet round'
    """
    kept = "".join(letter if letter.isalnum() else " " for letter in text.casefold())
    return " ".join(kept.split()) or text


def shingles(text: str) -> set[str]:
    """Word trigrams of a bare text; empty when the text is too short for them to mean anything."""
    words = text.split()
    if len(words) < MIN_WORDS:
        return set()
    return {" ".join(words[start : start + _SHINGLE]) for start in range(len(words) - _SHINGLE + 1)}


class BenchmarkIndex:
    """The evaluation texts, ready to be matched against training texts."""

    def __init__(self, texts: Mapping[str, str], params: DecontaminateParams) -> None:
        self._params = params
        self._exact: dict[str, str] = {}
        for identity, text in texts.items():
            self._exact.setdefault(bare(text), identity)
        self._shingles = {identity: found for text, identity in self._exact.items() if (found := shingles(text))}
        self._near = MinHashLSH(threshold=params.threshold, num_perm=params.permutations)
        for identity, sketch in self._sketched(self._shingles):
            self._near.insert(identity, sketch, check_duplication=False)

    def matches(self, training: Mapping[str, str]) -> pl.DataFrame:
        """Training texts (by id) that match an evaluation text, each with its closest match.

        Returns: id, matched_id, method ("exact" or "near"), similarity in [0, 1]; sorted by id.
        """
        rows, open_ = [], {}
        for identity, text in training.items():
            key = bare(text)
            if key in self._exact:
                rows.append((identity, self._exact[key], "exact", 1.0))
            elif found := shingles(key):
                open_[identity] = found
        for identity, sketch in self._sketched(open_):
            similarity, matched = self._closest(open_[identity], sketch)
            if similarity >= self._params.threshold:
                rows.append((identity, matched, "near", similarity))
        return pl.DataFrame(sorted(rows), schema=SCHEMA, orient="row")

    def _closest(self, found: set[str], sketch: MinHash) -> tuple[float, str]:
        candidates = sorted(self._near.query(sketch))
        return max(((_jaccard(found, self._shingles[one]), one) for one in candidates), default=(0.0, ""))

    def _sketched(self, texts: Mapping[str, set[str]]) -> Iterator[tuple[str, MinHash]]:
        start = MinHash(num_perm=self._params.permutations, seed=_SEED)
        for identity, found in texts.items():
            sketch = start.copy()
            sketch.update_batch([one.encode() for one in sorted(found)])
            yield identity, sketch


def _jaccard(left: set[str], right: set[str]) -> float:
    return float(np.round(len(left & right) / len(left | right), 6))
