"""The scan on cards gives exact_search's answer to the bit. A CPU device stands in: the same code, without TF32."""

import numpy as np
import pytest
import torch

from components.base.errors import UserError
from components.search.card_scan import CardTopK, scan_on_cards
from components.search.exact import exact_search
from components.search.top_k import as_keys
from tests.search.test_exact import blocks_of

CARDS = [[torch.device("cpu")], [torch.device("cpu")] * 3]


@pytest.mark.parametrize("cards", CARDS, ids=["one card", "three cards"])
@pytest.mark.parametrize("offset", [0.0, 3.0])
def test_the_answer_is_that_of_the_cpu_to_the_bit(cards: list[torch.device], offset: float) -> None:
    random = np.random.default_rng(1)
    queries = random.standard_normal((300, 32)).astype(np.float32)
    corpus = random.standard_normal((3000, 32)).astype(np.float32) + np.float32(offset)
    corpus[500:600] = corpus[:100]  # ties
    cpu = exact_search(queries, lambda: blocks_of(corpus, 512), 10, threads=2)
    found = exact_search(queries, lambda: blocks_of(corpus, 512), 10, threads=2, cards=cards)
    assert found.documents.tobytes() == cpu.documents.tobytes()
    assert found.scores.tobytes() == cpu.scores.tobytes()


@pytest.mark.slow
def test_rounding_as_coarse_as_the_stated_error_changes_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """What tensor cores do to a factor, at its worst: 13 of 23 bits of mantissa cut off."""
    random = np.random.default_rng(2)
    queries = random.standard_normal((200, 64)).astype(np.float32)
    corpus = random.standard_normal((20_000, 64)).astype(np.float32)
    cpu = exact_search(queries, lambda: blocks_of(corpus, 4096), 10)
    exact_add = CardTopK.add

    def truncated(values: np.ndarray) -> np.ndarray:
        return (values.view(np.int32) & ~np.int32((1 << 13) - 1)).view(np.float32)

    def add(self: CardTopK, block: np.ndarray, first: int) -> None:
        self.queries = torch.from_numpy(truncated(self.queries.numpy()))
        exact_add(self, truncated(block), first)

    monkeypatch.setattr(CardTopK, "add", add)
    found = exact_search(queries, lambda: blocks_of(corpus, 4096), 10, cards=CARDS[0])
    assert found.documents.tobytes() == cpu.documents.tobytes()
    assert found.scores.tobytes() == cpu.scores.tobytes()


def test_keys_are_those_of_the_cpu() -> None:
    random = np.random.default_rng(3)
    queries, corpus = (random.integers(-3, 4, (n, 5)).astype(np.float32) for n in (7, 40))
    keys, norm = scan_on_cards(queries, 40, lambda: blocks_of(corpus, 16), CARDS[1], tf32=False)
    expected = as_keys(queries @ corpus.T, np.broadcast_to(np.arange(40), (7, 40)))
    np.testing.assert_array_equal(np.sort(keys, axis=1), np.sort(expected, axis=1))
    assert norm == pytest.approx(float(np.linalg.norm(corpus, axis=1).max()))


def test_a_vector_that_is_not_finite_is_refused() -> None:
    corpus = np.array([[1.0, 0.0], [1.0, np.nan], [1.0, 2.0]], dtype=np.float32)
    with pytest.raises(UserError, match="not finite"):
        exact_search(np.ones((1, 2), dtype=np.float32), lambda: blocks_of(corpus, 1), k=1, cards=CARDS[0])
