"""BM25: the formula, and candidates only where a word matches."""

import math

import numpy as np

from components.config import Bm25Params
from components.search.bm25 import bm25_search

CORPUS = ["red fox jumps", "red red wine", "blue whale swims far", "nothing shared here"]


def test_scores_follow_lucenes_formula() -> None:
    params = Bm25Params(k1=1.2, b=0.5)
    hits = bm25_search(CORPUS, ["red"], 4, params, threads=1, label="test")
    lengths = np.array([3, 3, 4, 2])  # "here" is no stop word, "nothing" is none either

    def score(frequency: int, length: int, mean: float) -> float:
        idf = math.log(1 + (4 - 2 + 0.5) / (2 + 0.5))
        return idf * frequency / (frequency + 1.2 * (1 - 0.5 + 0.5 * length / mean))

    assert hits.documents[0, :2].tolist() == [1, 0]
    for mean in (lengths.mean(), 13 / 4):
        if np.allclose(hits.scores[0, :2], [score(2, 3, mean), score(1, 3, mean)], rtol=1e-5):
            break
    else:
        raise AssertionError(hits.scores)


def test_a_document_without_a_shared_word_is_no_candidate() -> None:
    hits = bm25_search(CORPUS, ["blue wine", "unheard"], 4, Bm25Params(), threads=2, label="test")
    assert sorted(hits.documents[0].tolist()) == [-1, -1, 1, 2]
    assert (hits.documents[1] == -1).all()


def test_a_corpus_without_words_gives_nothing() -> None:
    hits = bm25_search(["!!", "?"], ["red fox"], 2, Bm25Params(), threads=1, label="test")
    assert (hits.documents == -1).all()
