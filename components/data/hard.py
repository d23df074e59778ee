"""Hard distractor documents for a held-out corpus: BM25's best non-answers for the held-out queries.

A corpus that holds only answers makes ranking too easy. Queries contribute their next-best match in turn until `number`
is reached. A document that shares most of its words with an answer may be an answer itself and is skipped.

The scores are bm25s' own (Lucene's formula, English stop words), to the bit; the index holds the words of the held-out
queries only, so that a million documents are read once, in order, and leave a few hundred megabytes behind.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from bm25s import selection
from bm25s.stopwords import STOPWORDS_EN

from components.base.overlap import distinct_words, jaccard, normalise

_SAME = 0.6  # Jaccard overlap of words from which a document counts as a copy of the answer
_K1, _B = 1.5, 0.75  # bm25s' defaults
_STOP = frozenset(STOPWORDS_EN)
_WORD = re.compile(r"(?u)\b\w\w+\b")  # bm25s' default
_ASCII = {code: " " for code in range(128) if not (chr(code).isalnum() or chr(code) == "_")}
_BLOCK = 4096  # documents counted at once


def hard_documents(
    judged_queries: list[tuple[str, list[str]]], documents: Collection[str], number: int, depth: int = 20
) -> list[int]:
    """Indices of up to `number` documents, hardest first; `judged_queries` holds (query, its answers)."""
    if not documents:
        return []
    questions = [[word for word in _tokens(one) if word not in _STOP] for one, _ in judged_queries]
    index = _index(documents, sorted({word for words in questions for word in words}))
    hits = [index.search(words, min(depth, len(documents))) for words in questions]
    texts = _texts_at(documents, {place for row in hits for place in row})
    answers = [[_words(answer) for answer in own] for _, own in judged_queries]
    chosen: dict[int, None] = {}
    for column in range(min(depth, len(documents))):
        for own, row in zip(answers, hits, strict=True):
            if len(chosen) == number:
                return list(chosen)
            candidate = row[column]
            if candidate not in chosen:
                words = _words(texts[candidate])
                if all(jaccard(words, answer) < _SAME for answer in own):
                    chosen[candidate] = None
    return list(chosen)


@dataclass(frozen=True)
class _Index:
    """BM25 scores of the words of `places`: those of word w from `start[w]` to `start[w + 1]`."""

    places: dict[str, int]
    start: np.ndarray
    documents: np.ndarray  # int32
    scores: np.ndarray  # float32
    number: int

    def search(self, words: Sequence[str], k: int) -> list[int]:
        """The `k` best documents; sums and ties as in bm25s."""
        total = np.zeros(self.number, dtype=np.float32)
        for word in words:
            part = slice(self.start[self.places[word]], self.start[self.places[word] + 1])
            total[self.documents[part]] += self.scores[part]
        _, best = selection.topk(total, k, backend="numpy")
        return [int(place) for place in best]


def _index(documents: Collection[str], words: Sequence[str]) -> _Index:
    places = {word: place for place, word in enumerate(words)}
    ids = {**dict.fromkeys(_STOP, -2), **places}  # -1: another word, which counts in the document's length only
    parts, lengths, first = [], [], 0
    for block in _blocks(documents):
        found = [np.array([ids.get(word, -1) for word in _tokens(text)], dtype=np.int64) for text in block]
        lengths += [int((one != -2).sum()) for one in found]
        owner = np.repeat(np.arange(len(found)), [len(one) for one in found])
        flat = np.concatenate(found)
        pairs, counts = np.unique(owner[flat >= 0] * max(1, len(words)) + flat[flat >= 0], return_counts=True)
        owners, word = np.divmod(pairs, max(1, len(words)))
        parts.append((word.astype(np.int32), (owners + first).astype(np.int32), counts.astype(np.float32)))
        first += len(block)
    word, owner, count = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(word, kind="stable")
    word, owner, count = word[order], owner[order], count[order]
    frequency = np.bincount(word, minlength=len(words))
    idf = np.log(1 + (first - frequency + 0.5) / (frequency + 0.5)).astype(np.float32)
    length = np.array(lengths)
    scores = idf[word] * (count / (_K1 * ((1 - _B) + _B * length[owner] / length.mean()) + count))
    start = np.concatenate([[0], np.cumsum(frequency)])
    return _Index(places, start, owner, scores.astype(np.float32), first)


def _tokens(text: str) -> list[str]:
    """Words of two letters or more, stop words included."""
    lowered = text.lower()
    if lowered.isascii():  # what _WORD finds, eight times as fast
        return [word for word in lowered.translate(_ASCII).split() if len(word) > 1]
    return _WORD.findall(lowered)


def _blocks(documents: Iterable[str]) -> Iterator[list[str]]:
    block = []
    for text in documents:
        block.append(text)
        if len(block) == _BLOCK:
            yield block
            block = []
    if block:
        yield block


def _texts_at(documents: Iterable[str], places: set[int]) -> dict[int, str]:
    return {place: text for place, text in enumerate(documents) if place in places}


def _words(text: str) -> frozenset[str]:
    return distinct_words(normalise(text, punctuation=True))
