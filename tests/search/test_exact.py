"""Exact search: equals a full sort, with ties to the earlier document, whatever the threads."""

from collections.abc import Iterator

import numpy as np
import pytest

from components.base.errors import UserError
from components.search import exact as search
from components.search.exact import exact_search
from components.search.stream import in_groups


def blocks_of(corpus: np.ndarray, size: int) -> Iterator[np.ndarray]:
    for start in range(0, len(corpus), size):
        yield corpus[start : start + size]


def reference(scores: np.ndarray, k: int) -> np.ndarray:
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]


@pytest.mark.parametrize("block", [7, 64, 1000])
def test_equals_a_full_sort(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "QUERY_BLOCK", 16)
    random = np.random.default_rng(0)
    # small integers: products are exact and ties are everywhere
    queries = random.integers(-2, 3, (50, 6)).astype(np.float32)
    corpus = random.integers(-2, 3, (500, 6)).astype(np.float32)
    hits = exact_search(queries, lambda: blocks_of(corpus, block), k=20, threads=2)
    np.testing.assert_array_equal(hits.documents, reference(queries @ corpus.T, 20))
    np.testing.assert_array_equal(hits.scores, -np.sort(-(queries @ corpus.T), axis=1)[:, :20])


def test_k_larger_than_the_corpus_gives_the_corpus() -> None:
    queries, corpus = np.eye(3, dtype=np.float32), np.eye(3, dtype=np.float32)
    hits = exact_search(queries, lambda: blocks_of(corpus, 2), k=5)
    assert (hits.documents[:, 3:] == -1).all()
    assert sorted(hits.documents[0, :3].tolist()) == [0, 1, 2]
    assert len(hits.pairs()[0]) == 9


def test_the_answer_does_not_depend_on_the_threads() -> None:
    random = np.random.default_rng(1)
    queries = random.standard_normal((1200, 32)).astype(np.float32)
    corpus = random.standard_normal((3000, 32)).astype(np.float32)
    one, two = (exact_search(queries, lambda: blocks_of(corpus, 512), 10, threads) for threads in (1, 2))
    assert one.scores.tobytes() == two.scores.tobytes()
    assert one.documents.tobytes() == two.documents.tobytes()


def test_a_vector_that_is_not_finite_is_refused() -> None:
    corpus = np.array([[1.0, np.nan]], dtype=np.float32)
    with pytest.raises(UserError, match="not finite"):
        exact_search(np.ones((1, 2), dtype=np.float32), lambda: blocks_of(corpus, 1), k=1)


@pytest.mark.parametrize("offset", [0.0, 3.0])
def test_int8_and_float32_scans_give_the_same_bytes(offset: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where vectors crowd within the rounding error (offset) and where documents are copies of each other."""
    random = np.random.default_rng(2)
    queries = (random.standard_normal((300, 24)) + offset).astype(np.float32)
    corpus = (random.standard_normal((2000, 24)) + offset).astype(np.float32)
    corpus[::5] = corpus[0]
    found = []
    for fast in (True, False):
        monkeypatch.setattr(search, "integers_are_fast", lambda fast=fast: fast)
        found.append(exact_search(queries, lambda: blocks_of(corpus, 256), 10, threads=2))
    assert found[0].documents.tobytes() == found[1].documents.tobytes()
    assert found[0].scores.tobytes() == found[1].scores.tobytes()
    exact = queries.astype(np.float64) @ corpus.T.astype(np.float64)
    np.testing.assert_allclose(found[0].scores, -np.sort(-exact, axis=1)[:, :10], rtol=1e-5)


@pytest.mark.slow
def test_long_vectors_make_small_groups() -> None:
    """A group is four blocks, or what reaches 64 MiB."""
    for dimension, sizes in ((8, [4, 4, 1]), (1024, [2, 2, 2, 2, 1]), (4096, [1] * 9)):
        blocks = (np.zeros((1, dimension), dtype=np.float32).repeat(8192, axis=0) for _ in range(9))
        assert [len(group) for group in in_groups(blocks)] == sizes
