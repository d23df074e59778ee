"""FAISS indexes: with every list or a wide effort they equal the exact search, and their recall is honest."""

import numpy as np
import pytest

from components.base.errors import UserError
from components.config import IndexParams
from components.search.approximate import approximate_search
from components.search.exact import exact_search
from tests.search.test_exact import blocks_of

RANDOM = np.random.default_rng(0)
CORPUS = RANDOM.standard_normal((900, 16)).astype(np.float32)
CORPUS /= np.linalg.norm(CORPUS, axis=1, keepdims=True)
QUERIES = CORPUS[:60] + 0.1 * RANDOM.standard_normal((60, 16)).astype(np.float32)


def blocks() -> object:
    return blocks_of(CORPUS, 300)


@pytest.mark.slow
@pytest.mark.parametrize("params", [IndexParams(kind="ivf", lists=20, probes=20), IndexParams(kind="hnsw", effort=400)])
def test_a_generous_index_finds_the_exact_answer(params: IndexParams) -> None:
    hits, recall = approximate_search(QUERIES, blocks, 900, 10, params, threads=1)  # type: ignore[arg-type]  # test blocks
    assert recall > 0.99
    exact = exact_search(QUERIES, blocks, 10)  # type: ignore[arg-type]
    np.testing.assert_allclose(hits.scores, exact.scores, atol=1e-5)


def test_a_mean_index_reports_its_low_recall() -> None:
    params = IndexParams(kind="ivf", lists=30, probes=1)
    hits, recall = approximate_search(QUERIES, blocks, 900, 10, params, threads=1)  # type: ignore[arg-type]
    exact = exact_search(QUERIES, blocks, 10)  # type: ignore[arg-type]
    found = [len(set(a) & set(b)) for a, b in zip(exact.documents.tolist(), hits.documents.tolist(), strict=True)]
    assert recall == pytest.approx(sum(found) / 600)
    assert recall < 0.9


def test_k_larger_than_the_corpus_is_padded() -> None:
    hits, _ = approximate_search(QUERIES, blocks, 900, 1000, IndexParams(kind="ivf", lists=4, probes=4), threads=1)  # type: ignore[arg-type]
    assert hits.documents.shape == (60, 1000)
    assert (hits.documents[:, 900:] == -1).all()


def test_cagra_without_a_gpu_build_is_named() -> None:
    with pytest.raises(UserError, match="cuVS"):
        approximate_search(QUERIES, blocks, 900, 10, IndexParams(kind="cagra"), threads=1)  # type: ignore[arg-type]
