"""Decontamination: find training texts that occur in the evaluation data, exactly or nearly.

Two texts match when they are equal but for case, punctuation and spaces, or when the sets of their word trigrams
overlap by at least `threshold` (Jaccard). Candidate pairs come from MinHash and LSH (Indyk and Motwani 1998,
datasketch); each is then verified with the exact overlap, so a listed similarity is not an estimate.
Texts of fewer than `MIN_WORDS` words are only compared for equality.
"""

from collections.abc import Mapping

import numpy as np
import polars as pl
from datasketch import MinHash, MinHashLSH

from components.base.overlap import jaccard, minhashes, normalise, word_ngrams
from components.config import DecontaminateParams

SCHEMA = {"id": pl.String(), "matched_id": pl.String(), "method": pl.String(), "similarity": pl.Float64()}
MIN_WORDS = 8


class BenchmarkIndex:
    """Exact and MinHash LSH index of the evaluation texts."""

    def __init__(self, texts: Mapping[str, str], params: DecontaminateParams) -> None:
        self._params = params
        self._exact: dict[str, str] = {}
        for identity, text in texts.items():
            self._exact.setdefault(normalise(text, punctuation=False), identity)
        ngrams = {identity: word_ngrams(text, min_words=MIN_WORDS) for text, identity in self._exact.items()}
        self._ngrams = {identity: found for identity, found in ngrams.items() if found}
        self._near = MinHashLSH(threshold=params.threshold, num_perm=params.permutations)
        for identity, sketch in zip(self._ngrams, minhashes(self._ngrams.values(), params.permutations), strict=True):
            self._near.insert(identity, sketch, check_duplication=False)

    def matches(self, training: Mapping[str, str]) -> pl.DataFrame:
        """Find training texts (by id) that match an evaluation text, each with its closest match.

        Returns: id, matched_id, method ("exact" or "near"), similarity in [0, 1]; sorted by id.
        """
        rows, open_ = [], {}
        for identity, text in training.items():
            key = normalise(text, punctuation=False)
            if key in self._exact:
                rows.append((identity, self._exact[key], "exact", 1.0))
            elif found := word_ngrams(key, min_words=MIN_WORDS):
                open_[identity] = found
        for identity, sketch in zip(open_, minhashes(open_.values(), self._params.permutations), strict=True):
            similarity, matched = self._closest(open_[identity], sketch)
            if similarity >= self._params.threshold:
                rows.append((identity, matched, "near", similarity))
        return pl.DataFrame(sorted(rows), schema=SCHEMA, orient="row")

    def _closest(self, found: frozenset[str], sketch: MinHash) -> tuple[float, str]:
        candidates = sorted(self._near.query(sketch))
        overlaps = ((float(np.round(jaccard(found, self._ngrams[one]), 6)), one) for one in candidates)
        return max(overlaps, default=(0.0, ""))
