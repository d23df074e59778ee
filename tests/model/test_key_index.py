"""The index of a vector store: equal to a dictionary, however its segments came to be; linear, and safe to share."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from components.model import key_index
from components.model.key_index import KeyIndex
from components.model.vector_store import VectorStore, pack_keys
from tests.warm import start_warm


def key(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def write_segment(folder: Path, name: str, numbers: list[int]) -> None:
    (folder / name).mkdir(parents=True)
    np.save(folder / name / "keys.npy", pack_keys([key(number) for number in numbers]))


def places(index: KeyIndex, numbers: list[int]) -> list[tuple[str, int] | None]:
    segments, rows = index.find(pack_keys([key(number) for number in numbers]))
    return [(index.names[s], int(r)) if s >= 0 else None for s, r in zip(segments, rows, strict=True)]


@pytest.fixture(autouse=True)
def small_catalogs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_index, "_FEWEST", 4)


def test_every_key_is_found_in_its_segment_before_and_after_a_catalog(tmp_path: Path) -> None:
    index, known = KeyIndex(tmp_path), {}
    rng = np.random.default_rng(0)
    first = 0
    for segment in range(30):
        numbers = list(range(first, first + int(rng.integers(1, 6))))
        first += len(numbers)
        write_segment(tmp_path, f"{segment:03d}", numbers)
        known |= {number: (f"{segment:03d}", row) for row, number in enumerate(numbers)}
        assert index.refresh()
        asked = [*known, first + 1]
        assert places(index, asked) == [known.get(number) for number in asked]
        assert places(open_index(tmp_path), asked) == [known.get(number) for number in asked]
    assert not index.refresh()
    assert len(list(tmp_path.glob(".catalog-*"))) == 1


def open_index(folder: Path) -> KeyIndex:
    index = KeyIndex(folder)
    index.refresh()
    return index


def test_an_opening_reads_no_keys_that_a_catalog_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for segment in range(20):
        write_segment(tmp_path, f"{segment:03d}", [segment])
    open_index(tmp_path)
    write_segment(tmp_path, "new", [99])
    read = []
    real = key_index._read_keys
    monkeypatch.setattr(key_index, "_read_keys", lambda file: read.append(file.parent.name) or real(file))
    assert places(open_index(tmp_path), [3, 99]) == [("003", 0), ("new", 0)]
    assert read == ["new"]


def test_keys_that_agree_in_their_first_64_bits_only_are_different(tmp_path: Path) -> None:
    write_segment(tmp_path, "a", [1])
    index = open_index(tmp_path)
    wanted = pack_keys([key(1)]).copy()
    wanted[0, 3] += 1
    assert index.find(wanted)[0].tolist() == [-1]


def test_a_catalog_that_another_process_removes_is_looked_for_again(tmp_path: Path) -> None:
    for segment in range(8):
        write_segment(tmp_path, f"{segment:03d}", [segment])
    open_index(tmp_path)
    index = KeyIndex(tmp_path)
    index._open_catalog([".catalog-gone-100"])
    assert len(index.names) == 8


def fill_store(folder: Path, first: int) -> None:
    key_index._FEWEST = 4
    store = VectorStore(folder, "x")
    for number in range(first, first + 150):
        store.put([key(number)], np.full((1, 2), number, dtype=np.float32))
        assert store.has([key(number)]).all()


@pytest.mark.slow
def test_processes_that_write_and_catalogue_at_once_lose_nothing(tmp_path: Path) -> None:
    workers = [start_warm(fill_store, tmp_path, first) for first in (0, 100, 200)]
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    vectors = VectorStore(tmp_path, "x").read([key(number) for number in range(350)])
    assert vectors[:, 0].tolist() == list(range(350))
