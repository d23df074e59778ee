"""A content-addressed store of vectors on disk: nothing is embedded twice, and a stale hit is impossible.

A vector's key is the sha256 (hex) of what was embedded; the folder is named by the identity of what embedded it
(weights, tokenizer, pooling, dtype). Each `put` writes one segment, a folder of plain .npy files that is renamed into
place when it is whole, so a killed process or two processes at once leave nothing half written. Only the keys
(32 bytes each) are held in memory.
"""

import hashlib
import os
import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from components.base.errors import UserError


class VectorStore:
    """One vector per key. `identity` may be any text; another identity never sees these vectors."""

    def __init__(self, folder: Path, identity: str) -> None:
        self._segments = Segments(folder / hashlib.sha256(identity.encode()).hexdigest()[:32])

    def has(self, keys: Sequence[str]) -> np.ndarray:
        """bool [n]: which keys are stored."""
        return self._segments.find(keys)[0] >= 0

    def get(self, keys: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """(found: bool [n], vectors: float32 [n_found, dim]), the vectors in the order of the found keys."""
        segments, rows = self._segments.find(keys)
        found = segments >= 0
        parts = [(int(s), np.flatnonzero(segments == s)) for s in np.unique(segments[found])]
        out = np.zeros((len(keys), self._segments.dimension(parts[0][0]) if parts else 0), dtype=np.float32)
        for segment, places in parts:
            out[places] = self._segments.vectors(segment)[rows[places]]
        return found, out[found]

    def read(self, keys: Sequence[str]) -> np.ndarray:
        """float32 [n, dim]. Raises KeyError when one is not stored."""
        found, vectors = self.get(keys)
        if not found.all():
            raise KeyError(keys[int(found.argmin())])
        return vectors

    def put(self, keys: Sequence[str], vectors: np.ndarray) -> None:
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

    def has(self, keys: Sequence[str]) -> np.ndarray:
        """bool [n]: which keys are stored."""
        return self._segments.find(keys)[0] >= 0

    def get(self, keys: Sequence[str]) -> list[np.ndarray]:
        """float16 [tokens, dim] per key. Raises KeyError when one is not stored."""
        segments, rows = self._segments.find(keys)
        if len(keys) and segments.min() < 0:
            raise KeyError(keys[int(segments.argmin())])
        maps = {int(s): self._segments.vectors(int(s)) for s in np.unique(segments)}
        bounds = {s: self._segments.offsets(s) for s in maps}
        return [np.array(maps[s][bounds[s][r] : bounds[s][r + 1]]) for s, r in zip(segments, rows, strict=True)]

    def put(self, keys: Sequence[str], matrices: Sequence[np.ndarray]) -> None:
        """Store one [tokens, dim] matrix per key; raises like `VectorStore.put`."""
        lengths = np.array([len(matrix) for matrix in matrices], dtype=np.int64)
        if len(keys):
            self._segments.add(keys, lengths, np.concatenate([np.asarray(m, dtype=np.float16) for m in matrices]))


class Segments:
    """The folders below one store, and the index of their keys."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self._names: list[str] = []
        self._keys = np.empty((0, 4), dtype=np.uint64)  # sorted by the first column
        self._place = np.empty((0, 2), dtype=np.int64)  # segment, row

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process opens the folder itself: the index of its keys may be large."""
        return Segments, (self.folder,)

    def find(self, keys: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """(segment, row) per key, int64 [n]; segment -1 where the key is not stored."""
        wanted = _packed(keys)
        segments, rows = self._look_up(wanted)
        if (segments < 0).any() and self._refresh():
            segments, rows = self._look_up(wanted)
        return segments, rows

    def vectors(self, segment: int) -> np.ndarray:
        """The segment's matrix, mapped from disk."""
        return np.asarray(np.load(self.folder / self._names[segment] / "vectors.npy", mmap_mode="r"))

    def dimension(self, segment: int) -> int:
        """Columns of the segment's matrix."""
        return int(self.vectors(segment).shape[1])

    def offsets(self, segment: int) -> np.ndarray:
        """int64 [keys + 1]: row r of the index is rows offsets[r] to offsets[r + 1] of the matrix."""
        return np.asarray(np.load(self.folder / self._names[segment] / "offsets.npy"))

    def add(self, keys: Sequence[str], lengths: np.ndarray, vectors: np.ndarray) -> None:
        """Write one segment and rename it into place."""
        if len(keys) != len(lengths) or len(vectors) != int(lengths.sum()):
            raise ValueError(f"{len(keys)} keys for {len(vectors)} vectors")
        if not len(keys):
            return
        if not np.isfinite(vectors).all():
            raise UserError("a model returned a vector that is not finite; check its weights and precision")
        packed = _packed(keys)
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

    def _refresh(self) -> bool:
        known = set(self._names)
        fresh = sorted(f.name for f in self.folder.iterdir() if f.name[0] != "." and f.name not in known)
        for name in fresh:
            keys = np.load(self.folder / name / "keys.npy")
            place = np.stack([np.full(len(keys), len(self._names)), np.arange(len(keys))], axis=1)
            self._names.append(name)
            self._keys = np.concatenate([self._keys, keys])
            self._place = np.concatenate([self._place, place])
        if fresh:
            order = np.argsort(self._keys[:, 0], kind="stable")
            self._keys, self._place = self._keys[order], self._place[order]
        return bool(fresh)

    def _look_up(self, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if not len(self._keys):
            missing = np.full(len(wanted), -1, dtype=np.int64)
            return missing, missing
        at = np.minimum(np.searchsorted(self._keys[:, 0], wanted[:, 0]), len(self._keys) - 1)
        hit = (self._keys[at] == wanted).all(axis=1)  # two keys equal in 64 bits only: a miss, never a wrong vector
        return np.where(hit, self._place[at, 0], -1), np.where(hit, self._place[at, 1], -1)


def _packed(keys: Sequence[str]) -> np.ndarray:
    """sha256 hex digests as uint64 [n, 4]."""
    raw = bytes.fromhex("".join(keys))
    return np.frombuffer(raw, dtype=">u8").astype(np.uint64).reshape(len(keys), 4)


def _save(file: Path, values: np.ndarray) -> None:
    with file.open("wb") as handle:
        np.save(handle, values, allow_pickle=False)
        handle.flush()
        os.fsync(handle.fileno())
