"""Candidate pool for shots: training pairs of a task whose texts do not occur in dev or test data."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import polars as pl

from components.base.overlap import normalise, word_ngrams
from components.data.inputs import Inputs
from components.data.splits import rank

MIN_WORDS = 6  # shorter texts are compared for equality only
NEAR = 0.6  # shared fraction of the shorter text's word trigrams from which two texts count as the same


@dataclass(frozen=True)
class Candidate:
    """A training query and its positive: their rows, texts and label."""

    query_row: int
    document_row: int
    query: str
    response: str
    label: str | None


def task_pool(inputs: Inputs, task: str, size: int, seed: int) -> list[Candidate]:
    """`size` training pairs of a task (one per query), in an order that depends only on their ids and the seed."""
    queries = inputs.queries.filter((pl.col("task") == task) & (pl.col("split") == "train"))
    first = inputs.qrels.sort("query", "relevance", "document", descending=[False, True, False])
    first = first.unique("query", keep="first", maintain_order=True)
    pairs = (
        queries.join(first, left_on="row", right_on="query")
        .join(inputs.corpus.select(document="row", response="text"), on="document")
        .select("query_id", "row", "document", "text", "response", "label")
    )
    ordered = sorted(pairs.iter_rows(), key=lambda row: rank(seed, f"shots-{task}", row[0]))[:size]
    return [Candidate(*row[1:]) for row in ordered]


class Guard:
    """Index of the held-out texts that detects exact and near copies.

    Two texts are the same when they are equal after normalisation, or when the shorter one (of MIN_WORDS or more)
    shares at least NEAR of its word trigrams with the longer: a quote, an excerpt or a lightly edited copy.
    """

    def __init__(self, held_out: Iterable[str]) -> None:
        self._texts: set[str] = set()
        self._ngrams: list[frozenset[str]] = []
        self._index: dict[str, list[int]] = {}
        for text in held_out:
            plain = normalise(text, punctuation=True)
            if plain in self._texts:
                continue
            self._texts.add(plain)
            pieces = word_ngrams(plain, min_words=MIN_WORDS)
            for piece in pieces:
                self._index.setdefault(piece, []).append(len(self._ngrams))
            self._ngrams.append(pieces)

    def repeats(self, text: str) -> bool:
        """Whether `text` is a copy or near copy of a held-out text."""
        plain = normalise(text, punctuation=True)
        if plain in self._texts:
            return True
        pieces = word_ngrams(plain, min_words=MIN_WORDS)
        common: dict[int, int] = {}
        for piece in pieces:
            for other in self._index.get(piece, ()):
                common[other] = common.get(other, 0) + 1
        return any(shared >= NEAR * min(len(pieces), len(self._ngrams[o])) for o, shared in common.items())

    def clean(self, candidates: Sequence[Candidate], answers: frozenset[str]) -> list[Candidate]:
        """Drop candidates with a text that repeats a held-out one; responses in `answers` (label names) are allowed."""
        return [
            one
            for one in candidates
            if not self.repeats(one.query) and (one.response in answers or not self.repeats(one.response))
        ]
