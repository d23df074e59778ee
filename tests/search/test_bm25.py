"""BM25: the formula, and candidates only where a word matches."""

import math
from typing import Any

import numpy as np
import pytest

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


FAQ = [
    "如何重置我的路由器密码？请按住按钮十秒",
    "订单可以在七天内退货",
    "ルーターのパスワードを忘れました",
    "退货需要多久",
]


@pytest.mark.parametrize(("query", "best"), [("路由器怎么重置", [0]), ("怎么退货", [1, 3]), ("パスワード", [2])])
def test_scripts_without_spaces_are_found_by_pairs_of_letters(query: str, best: list[int]) -> None:
    hits = bm25_search(FAQ, [query], 4, Bm25Params(), threads=1, label="test")
    assert sorted(hits.documents[0][: len(best)].tolist()) == best
    spaces = bm25_search(FAQ, [query], 4, Bm25Params(tokenizer="spaces"), threads=1, label="test")
    assert (spaces.documents == -1).all()


def test_stop_words_of_a_language() -> None:
    corpus = ["der Hund und die Katze", "und so weiter", "the dog"]

    def found(query: str, **settings: Any) -> list[int]:
        hits = bm25_search(corpus, [query], 3, Bm25Params(**settings), threads=1, label="test")
        return [one for one in hits.documents[0].tolist() if one >= 0]

    assert sorted(found("und", stop_words="english")) == [0, 1]
    assert found("und", stop_words="german") == []
    assert found("the", stop_words="none") == [2]
