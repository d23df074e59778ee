"""Hard distractor documents for a held-out corpus: BM25's best non-answers for the held-out queries.

A corpus that holds only answers makes ranking too easy. Queries contribute their next-best match in turn until `number`
is reached. A document that shares most of its words with an answer may be an answer itself and is skipped.

The scores are bm25s' own (Lucene's formula, English stop words), to the bit; the index holds the words of the held-out
queries only, so that a million documents are read once, in order, and leave a few hundred megabytes behind.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from bm25s import selection
from bm25s.stopwords import STOPWORDS_EN

from components.base.overlap import jaccard, normalise
from components.base.scripts import is_western, search_words
from components.base.shingles import hash_words, text_blocks

_DEPTH = 20  # best documents of a query that are looked at; more where more are asked for
_FURTHER = 8  # times as many, where those of several queries are the same documents
_SAME = 0.6  # Jaccard overlap of words from which a document counts as a copy of the answer
_K1, _B = 1.5, 0.75  # bm25s' defaults
_STOP = frozenset(STOPWORDS_EN)
_ASCII = {code: " " for code in range(128) if not (chr(code).isalnum() or chr(code) == "_")}


def hard_documents(
    judged_queries: list[tuple[str, list[str]]],
    documents: Sequence[str],
    number: int,
    allowed: Callable[[int], bool] = lambda _: True,
) -> list[int]:
    """Indices of up to `number` documents, hardest first; `judged_queries` holds (query, its answers).

    Args:
        allowed: asked once for each document that would be chosen.
    """
    if not documents:
        return []
    questions = [[word for word in _tokens(one) if word not in _STOP] for one, _ in judged_queries]
    depth = min(max(_DEPTH, -(-number // max(1, len(questions)))), len(documents))
    index = _index(documents, sorted({word for words in questions for word in words}))
    answers = [[_words(answer) for answer in own] for _, own in judged_queries]
    chosen: dict[int, None] = {}
    refused: dict[int, None] = {}
    for deep in (depth, min(_FURTHER * depth, len(documents))):
        hits = [index.search(words, deep) for words in questions]
        for column in range(deep):
            for own, row in zip(answers, hits, strict=True):
                if len(chosen) == number:
                    return list(chosen)
                candidate = row[column]
                if candidate not in chosen and candidate not in refused:
                    words = _words(documents[candidate])
                    if all(jaccard(words, answer) < _SAME for answer in own):
                        (chosen if allowed(candidate) else refused)[candidate] = None
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


def _index(documents: Sequence[str], words: Sequence[str]) -> _Index:
    known = np.concatenate([hash_words(words).hashes, hash_words(sorted(_STOP)).hashes])
    order = np.argsort(known)
    parts, lengths, first = [], [], 0
    for block in text_blocks(documents, str):
        hashes, owner = hash_words([_spaced(text) for text in block], min_bytes=2)
        place = np.minimum(np.searchsorted(known, hashes, sorter=order), len(known) - 1)
        word = np.where(known[order[place]] == hashes, order[place], -1)
        stop = word >= len(words)
        lengths.append(np.bincount(owner[~stop], minlength=len(block)))
        counted = (word >= 0) & ~stop
        pairs, counts = np.unique(owner[counted] * max(1, len(words)) + word[counted], return_counts=True)
        owners, word = np.divmod(pairs, max(1, len(words)))
        parts.append((word.astype(np.int32), (owners + first).astype(np.int32), counts.astype(np.float32)))
        first += len(block)
    word, owner, count = (np.concatenate(column) for column in zip(*parts, strict=True))
    by_word = np.argsort(word, kind="stable")
    word, owner, count = word[by_word], owner[by_word], count[by_word]
    frequency = np.bincount(word, minlength=len(words))
    idf = np.log(1 + (first - frequency + 0.5) / (frequency + 0.5)).astype(np.float32)
    length = np.concatenate(lengths)
    scores = idf[word] * (count / (_K1 * ((1 - _B) + _B * length[owner] / length.mean()) + count))
    start = np.concatenate([[0], np.cumsum(frequency)])
    return _Index({word: place for place, word in enumerate(words)}, start, owner, scores.astype(np.float32), first)


def _spaced(text: str) -> str:
    """The words of `search_words` between spaces; in ASCII texts also words of one letter."""
    return text.lower().translate(_ASCII) if text.isascii() else " ".join(search_words(text))  # ten times as fast


def _tokens(text: str) -> list[str]:
    return [word for word in _spaced(text).split(" ") if len(word.encode()) > 1]


def _words(text: str) -> frozenset[str]:
    """The set that two texts are compared by: words, and pairs of letters in scripts without spaces."""
    if is_western(text):
        return frozenset(normalise(text, punctuation=True).split())
    return frozenset(search_words(text))
