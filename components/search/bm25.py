"""BM25 candidates (bm25s: Lucene's formula, scores computed when the index is built).

The index of one pool is built in memory: its peak is 9 bytes a word (lists of word numbers) and 20 a posting (score,
document and word, and a copy of the first two by word). The texts themselves stream by.
"""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import bm25s
import numpy as np

from components.base.progress import progress
from components.base.scripts import search_words
from components.config import Bm25Params
from components.search.exact import Hits
from components.search.top_k import RunningTopK, best_first

CHUNK = 64  # queries scored at once
SCORES = 1 << 25  # scores held at once, over all threads: 128 MiB


def bm25_search(
    corpus: Iterable[str], queries: Sequence[str], k: int, params: Bm25Params, threads: int, label: str
) -> Hits:
    """The k documents with the highest BM25 score above 0, per query; ties go to the earlier document.

    Words as in `search_words` (components/base/scripts.py); k1 and b as Robertson and Zaragoza (2009).
    """
    index = bm25s.BM25(k1=params.k1, b=params.b, method="lucene")
    tokens = _tokenize(corpus, params, return_ids=True)
    if not tokens.vocab:
        return Hits(np.full((len(queries), k), -1, dtype=np.int64), np.full((len(queries), k), -np.inf, np.float32))
    documents = len(tokens.ids)
    index.index(tokens, show_progress=False)
    del tokens
    asked = _tokenize(queries, params, return_ids=False)

    chunk = max(1, min(CHUNK, SCORES // threads // documents))

    def search(start: int) -> Hits:
        return _top(index, asked[start : start + chunk], k, documents)

    starts = range(0, len(queries), chunk)
    with ThreadPoolExecutor(threads) as pool:
        parts = list(progress(pool.map(search, starts), label, total=len(starts), unit="chunk"))
    return Hits(np.concatenate([part.documents for part in parts]), np.concatenate([part.scores for part in parts]))


def _tokenize(texts: Iterable[str], params: Bm25Params, *, return_ids: bool) -> Any:
    """The texts' words, read one after the other."""
    stop = None if params.stop_words == "none" else params.stop_words
    how = {"stopwords": stop, "return_ids": return_ids, "show_progress": False}
    if params.tokenizer == "spaces":
        return bm25s.tokenize(texts, **how)
    words = (" ".join(search_words(text)) for text in texts)
    return bm25s.tokenize(words, lower=False, token_pattern=r"\S+", **how)


def _top(index: bm25s.BM25, queries: Sequence[list[str]], k: int, documents: int) -> Hits:
    scores = np.zeros((len(queries), documents), dtype=np.float32)
    for row, words in enumerate(queries):
        ids = index.get_tokens_ids(words)
        if ids:
            scores[row] = index.get_scores_from_ids(ids)
    scores[scores <= 0] = -np.inf  # no word in common: not found, for any k
    best = RunningTopK(len(queries), k)
    best.add([(scores, 1.0)], first=0, columns=documents)
    return Hits(*best_first(best.keys(), k))
