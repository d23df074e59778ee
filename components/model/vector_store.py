"""A content-addressed store of vectors on disk: nothing is embedded twice, and a stale hit is impossible.

A vector's key is the sha256 (hex) of what was embedded; the folder is named by the identity of what embedded it
(weights, tokenizer, pooling, dtype). Each `put` writes one segment, a folder of plain .npy files that is renamed into
place when it is whole, so a killed process or two processes at once leave nothing half written. Where each key is
(key_index.py) is kept on disk and memory-mapped.

A block of texts that were put in the order in which they are read comes from few segments, in one piece each.
"""

import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from components.base.errors import UserError
from components.model.key_index import KeyIndex

Keys = Sequence[str] | np.ndarray  # sha256 as hex, or as `pack_keys` makes them


class VectorStore:
    """One vector per key. `identity` may be any text; another identity never sees these vectors."""

    def __init__(self, folder: Path, identity: str) -> None:
        self._segments = Segments(folder / hashlib.sha256(identity.encode()).hexdigest()[:32])

    @property
    def folder(self) -> Path:
        """Of the segments."""
        return self._segments.folder

    def has(self, keys: Keys) -> np.ndarray:
        """bool [n]: which keys are stored."""
        return self._segments.find(keys)[0] >= 0

    def get(self, keys: Keys) -> tuple[np.ndarray, np.ndarray]:
        """(found: bool [n], vectors: float32 [n_found, dim]), the vectors in the order of the found keys."""
        segments, rows = self._segments.find(keys)
        found = segments >= 0
        segments, rows = segments[found], rows[found]
        out = np.empty((len(rows), self._segments.dimension(int(segments[0])) if len(rows) else 0), dtype=np.float32)
        for segment, places in _by_segment(segments):
            out[places] = self._segments.rows(segment, rows[places])
        return found, out

    def read(self, keys: Keys) -> np.ndarray:
        """float32 [n, dim]. Raises KeyError when one is not stored."""
        found, vectors = self.get(keys)
        if not found.all():
            raise KeyError(str(keys[int(found.argmin())]))
        return vectors

    def put(self, keys: Keys, vectors: np.ndarray) -> None:
        """Store float32 [n, dim] under `keys`.

        Raises:
            UserError: a vector is not finite.
            ValueError: the numbers of keys and vectors differ.
        """
        self._segments.add(keys, np.ones(len(keys), dtype=np.int64), np.asarray(vectors, dtype=np.float32))


class TokenVectorStore:
    """A matrix of token vectors per key, kept as float16; for late interaction."""

    def __init__(self, folder: Path, identity: str) -> None:
        self._segments = Segments(folder / hashlib.sha256(f"tokens {identity}".encode()).hexdigest()[:32])

    def has(self, keys: Keys) -> np.ndarray:
        """bool [n]: which keys are stored."""
        return self._segments.find(keys)[0] >= 0

    def get(self, keys: Keys) -> list[np.ndarray]:
        """float16 [tokens, dim] per key. Raises KeyError when one is not stored."""
        segments, rows = self._segments.find(keys)
        if len(keys) and segments.min() < 0:
            raise KeyError(str(keys[int(segments.argmin())]))
        maps = {s: self._segments.vectors(s) for s, _ in _by_segment(segments)}
        bounds = {s: self._segments.offsets(s) for s in maps}
        return [np.array(maps[s][bounds[s][r] : bounds[s][r + 1]]) for s, r in zip(segments, rows, strict=True)]

    def put(self, keys: Keys, matrices: Sequence[np.ndarray]) -> None:
        """Store one [tokens, dim] matrix per key; raises like `VectorStore.put`."""
        lengths = np.array([len(matrix) for matrix in matrices], dtype=np.int64)
        if len(keys):
            self._segments.add(keys, lengths, np.concatenate([np.asarray(m, dtype=np.float16) for m in matrices]))


class Segments:
    """The folders below one store."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self._index = KeyIndex(folder)
        self._lock = Lock()
        self._width = 0  # columns of every matrix, once known

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process opens the folder itself: the index of its keys may be large."""
        return Segments, (self.folder,)

    def find(self, keys: Keys) -> tuple[np.ndarray, np.ndarray]:
        """(segment, row) per key, int64 [n]; segment -1 where the key is not stored."""
        wanted = pack_keys(keys)
        with self._lock:  # shards of one process share a store, and a refresh replaces tables one after the other
            segments, rows = self._index.find(wanted)
            if (segments < 0).any() and self._index.refresh():
                segments, rows = self._index.find(wanted)
        return segments, rows

    def vectors(self, segment: int) -> np.ndarray:
        """The segment's matrix, mapped from disk."""
        return np.asarray(np.load(self.folder / self._index.names[segment] / "vectors.npy", mmap_mode="r"))

    def rows(self, segment: int, rows: np.ndarray) -> np.ndarray:
        """The matrix's rows, float32 [n, dim]: one read where they lie close together, else mapped from disk.

        np.load takes longer to parse a header than the disk's cache takes to give 50 vectors.
        """
        first, last = int(rows.min()), int(rows.max())
        if last - first >= 2 * len(rows):
            return self.vectors(segment)[rows]
        dimension = self._width = self._width or self.dimension(segment)
        with (self.folder / self._index.names[segment] / "vectors.npy").open("rb") as file:
            header = 10 + int.from_bytes(file.read(10)[8:], "little")
            file.seek(header + 4 * dimension * first)
            read = np.fromfile(file, dtype=np.float32, count=dimension * (last - first + 1))
        return read.reshape(-1, dimension)[rows - first]

    def dimension(self, segment: int) -> int:
        """Columns of the segment's matrix."""
        return int(self.vectors(segment).shape[1])

    def offsets(self, segment: int) -> np.ndarray:
        """int64 [keys + 1]: row r of the index is rows offsets[r] to offsets[r + 1] of the matrix."""
        return np.asarray(np.load(self.folder / self._index.names[segment] / "offsets.npy"))

    def add(self, keys: Keys, lengths: np.ndarray, vectors: np.ndarray) -> None:
        """Write one segment and rename it into place."""
        if len(keys) != len(lengths) or len(vectors) != int(lengths.sum()):
            raise ValueError(f"{len(keys)} keys for {len(vectors)} vectors")
        if not len(keys):
            return
        if not np.isfinite(vectors).all():
            raise UserError("a model returned a vector that is not finite; check its weights and precision")
        packed = pack_keys(keys)
        name = hashlib.sha256(packed.tobytes()).hexdigest()[:32]
        partial = self.folder / f".{name}.{uuid.uuid4().hex}"
        partial.mkdir()
        _save(partial / "vectors.npy", vectors)
        _save(partial / "offsets.npy", np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))
        _save(partial / "keys.npy", packed)
        try:
            partial.rename(self.folder / name)
        except OSError:  # another process wrote the same keys first
            shutil.rmtree(partial)


def pack_keys(keys: Keys) -> np.ndarray:
    """sha256 hex digests as uint64 [n, 4]; packed keys are returned as they are."""
    if isinstance(keys, np.ndarray):
        return keys
    raw = bytes.fromhex("".join(keys))
    return np.frombuffer(raw, dtype=">u8").astype(np.uint64).reshape(len(keys), 4)


def _by_segment(segments: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """(segment, places of its keys) of int64 [n]; one sort, however many segments there are."""
    order = np.argsort(segments, kind="stable")
    bounds = np.flatnonzero(np.diff(segments[order], prepend=-1, append=-1))
    for start, end in pairwise(bounds):
        yield int(segments[order[start]]), order[start:end]


def _save(file: Path, values: np.ndarray) -> None:
    with file.open("wb") as handle:
        np.save(handle, values, allow_pickle=False)
        handle.flush()
        os.fsync(handle.fileno())
