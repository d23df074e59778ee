"""The loop: each distinct text once, the store first, a row for every text that was asked for."""

from pathlib import Path

import numpy as np
import pytest

from components.base.errors import UserError
from components.model.encoder import vector_key
from components.model.stored_embedder import MissingVectorError, StoredEmbedder
from components.model.vector_store import VectorStore


class Lengths(StoredEmbedder):
    """A vector is the text's length and `way`; remembers what it embedded."""

    def __init__(self, store: VectorStore | None = None) -> None:
        super().__init__("model", "lengths", 2, store)
        self.embedded: list[list[str]] = []

    def encode(self, texts: list[str], way: int = 0) -> np.ndarray:
        return self._encode(texts, way)

    def _keyed(self, texts: list[str], way: int) -> tuple[list[str], list[str]]:
        return texts, [vector_key([way], list(text.encode())) for text in texts]

    def _embed(self, inputs: list[str], way: int) -> np.ndarray:
        self.embedded.append(inputs)
        return np.array([[len(text), way] for text in inputs], dtype=np.float32)


def test_equal_texts_are_embedded_once_and_given_back_each() -> None:
    own = Lengths()
    assert own.encode(["aa", "b", "aa"], 3).tolist() == [[2, 3], [1, 3], [2, 3]]
    assert own.embedded == [["aa", "b"]]
    assert own.encode(["b"]).tolist() == [[1, 0]]  # no store: nothing is remembered
    assert own.encode([]).shape == (0, 2)


def test_the_store_gives_what_it_has_and_takes_what_it_lacks(tmp_path: Path) -> None:
    first, second = (Lengths(VectorStore(tmp_path, "lengths")) for _ in range(2))
    first.encode(["aa", "b"])
    assert second.encode(["ccc", "b", "aa"]).tolist() == [[3, 0], [1, 0], [2, 0]]
    assert second.embedded == [["ccc"]]
    assert second.encode(["b"], 1).tolist() == [[1, 1]]  # put another way, it is another vector
    assert first.reader().encode(["ccc"]).tolist() == [[3, 0]]


def test_a_reader_embeds_nothing(tmp_path: Path) -> None:
    reader = Lengths(VectorStore(tmp_path, "lengths")).reader()
    with pytest.raises(MissingVectorError, match="2 of 2 texts"):
        reader.encode(["a", "b", "a"])
    assert reader.embedded == []


def test_a_vector_that_is_not_finite_is_not_stored(tmp_path: Path) -> None:
    class Broken(Lengths):
        def _embed(self, inputs: list[str], way: int) -> np.ndarray:
            return np.full((len(inputs), 2), np.nan, dtype=np.float32)

    broken = Broken(VectorStore(tmp_path, "lengths"))
    with pytest.raises(UserError, match="not finite"):
        broken.encode(["a"])
    assert not list(tmp_path.rglob("vectors.npy"))
