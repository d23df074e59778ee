"""The vector store: what was put comes back, identities never mix, and a half-written segment is never seen."""

import hashlib
import multiprocessing
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from components.base.errors import UserError
from components.model import key_index
from components.model.vector_store import TokenVectorStore, VectorStore


def key(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def vectors(*values: float) -> np.ndarray:
    return np.array([[value, value + 0.5, -value] for value in values], dtype=np.float32)


def test_what_was_put_comes_back_in_the_order_asked(tmp_path: Path) -> None:
    store = VectorStore(tmp_path, "weights-1")
    store.put([key("a"), key("b")], vectors(1, 2))
    store.put([key("c")], vectors(3))
    found, known = store.get([key("c"), key("nothing"), key("a"), key("c")])
    assert found.tolist() == [True, False, True, True]
    np.testing.assert_array_equal(known, vectors(3, 1, 3))


def test_an_empty_store_finds_nothing(tmp_path: Path) -> None:
    found, known = VectorStore(tmp_path, "weights-1").get([key("a"), key("b")])
    assert found.tolist() == [False, False]
    assert known.shape[0] == 0
    found, known = VectorStore(tmp_path, "weights-1").get([])
    assert found.shape == (0,)


def test_changed_weights_cannot_hit(tmp_path: Path) -> None:
    VectorStore(tmp_path, "weights-1").put([key("a")], vectors(1))
    assert not VectorStore(tmp_path, "weights-2").has([key("a")]).any()
    assert VectorStore(tmp_path, "weights-1").has([key("a")]).all()


def test_a_second_process_sees_what_the_first_wrote_later(tmp_path: Path) -> None:
    reader, writer = VectorStore(tmp_path, "x"), VectorStore(tmp_path, "x")
    assert not reader.has([key("a")]).any()
    writer.put([key("a")], vectors(4))
    np.testing.assert_array_equal(reader.get([key("a")])[1], vectors(4))


def _put_many(folder: Path, first: int) -> None:
    store = VectorStore(folder, "x")
    for i in range(first, first + 20):
        store.put([key(str(i)), key(f"{i}+")], vectors(i, i))


@pytest.mark.slow
def test_processes_that_write_the_same_keys_at_once_lose_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_put_many, args=(tmp_path, first)) for first in (0, 0, 10)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    found, known = VectorStore(tmp_path, "x").get([key(str(i)) for i in range(30)])
    assert found.all()
    np.testing.assert_array_equal(known, vectors(*range(30)))
    assert not list(tmp_path.glob("*/.*"))  # no partial segment is left


def test_a_segment_cut_short_by_a_kill_is_never_seen(tmp_path: Path) -> None:
    store = VectorStore(tmp_path, "x")
    store.put([key("a")], vectors(1))
    segment = next(f for f in next(tmp_path.iterdir()).iterdir())
    segment.rename(segment.with_name("." + segment.name + ".partial"))
    assert not VectorStore(tmp_path, "x").has([key("a")]).any()


def test_keys_equal_in_their_first_bytes_are_told_apart(tmp_path: Path) -> None:
    store = VectorStore(tmp_path, "x")
    twin, other = "0" * 16 + "1" * 48, "0" * 16 + "2" * 48
    store.put([twin], vectors(1))
    assert store.has([twin, other]).tolist() == [True, False]


def test_not_a_number_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not finite"):
        VectorStore(tmp_path, "x").put([key("a")], vectors(float("nan")))
    with pytest.raises(ValueError, match="2 keys for 1 vectors"):
        VectorStore(tmp_path, "x").put([key("a"), key("b")], vectors(1))


def test_token_matrices_of_different_lengths_come_back(tmp_path: Path) -> None:
    store = TokenVectorStore(tmp_path, "x")
    matrices = [np.full((rows, 4), rows, dtype=np.float16) for rows in (3, 1, 5)]
    store.put([key("a"), key("b"), key("c")], matrices)
    store.put([key("d")], [np.ones((2, 4), dtype=np.float16)])
    for got, wanted in zip(
        store.get([key("c"), key("d"), key("b")]), (matrices[2], np.ones((2, 4)), matrices[1]), strict=True
    ):
        np.testing.assert_array_equal(got, wanted)
    with pytest.raises(KeyError):
        store.get([key("nothing")])
    assert not VectorStore(tmp_path, "x").has([key("a")]).any()


def test_threads_that_share_a_store_add_a_segment_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = list(range(4))
    for number in numbers:
        VectorStore(tmp_path, "weights-1").put([key(f"{number}")], vectors(number))
    read = key_index._read_keys

    def slow(file: Path) -> np.ndarray:
        time.sleep(0.02)  # the other thread gets here too, if it can
        return read(file)

    monkeypatch.setattr(key_index, "_read_keys", slow)
    store = VectorStore(tmp_path, "weights-1")
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(store.read, [[key(f"{number}") for number in numbers]] * 2))
    for one in found:
        np.testing.assert_array_equal(one, vectors(*numbers))
    names = store._segments._index.names
    assert len(names) == len(set(names)) == len(numbers)
