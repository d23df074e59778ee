"""The index of a vector store: in which segment, and in which row of it, each key is.

Two sorted tables are looked up. The large one is a memory-mapped catalog on disk, so that opening a store with ten
million keys reads none of them; the small one holds the segments that were written after it. When the small one has
grown to a share of the large one, the two are merged into a new catalog: all openings and refreshes together take time
linear in the number of keys (up to the sort's logarithm).
"""

import logging
import os
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path

import numpy as np

log = logging.getLogger(__name__)
_CATALOG = ".catalog-2-"  # those of earlier versions, without the 2, may lack keys
_CATALOGS = ".catalog-"
_FEWEST = 64  # segments that are worth a catalog
_SHARE = 4  # a new catalog when 1 / _SHARE of the segments are not in the old one
_PARTS = ("first", "rest", "place")
_ATTEMPTS = 5  # to open a catalog while other processes replace it


@dataclass(frozen=True)
class _Table:
    """Keys sorted by their first 64 bits.

    Attributes:
        first: uint64 [n], the first 64 bits; on their own, as a search reads nothing else.
        rest: uint64 [n, 3].
        place: int64 [n, 2], segment and row.
    """

    first: np.ndarray
    rest: np.ndarray
    place: np.ndarray

    @classmethod
    def sorted(cls, first: np.ndarray, rest: np.ndarray, place: np.ndarray) -> "_Table":
        order = np.argsort(first, kind="stable")
        return cls(first[order], rest[order], place[order])

    @classmethod
    def empty(cls) -> "_Table":
        nothing = np.empty(0, dtype=np.uint64)
        return cls(nothing, nothing.reshape(0, 3), np.empty((0, 2), dtype=np.int64))

    def find(self, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(segment, row) of each key of uint64 [n, 4]; -1 where it is not here."""
        if not len(self.first):
            missing = np.full(len(wanted), -1, dtype=np.int64)
            return missing, missing.copy()
        at = np.minimum(np.searchsorted(self.first, wanted[:, 0]), len(self.first) - 1)
        # Two keys that are equal in 64 bits only: a miss, never a wrong vector.
        hit = (self.first[at] == wanted[:, 0]) & (self.rest[at] == wanted[:, 1:]).all(axis=1)
        place = self.place[at]
        return np.where(hit, place[:, 0], -1), np.where(hit, place[:, 1], -1)


class KeyIndex:
    """Index of the segments in one folder. `names[s]` is the folder of segment s. Not for several threads at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.names: list[str] = []
        self._catalogued = 0  # segments in the large table
        self._large, self._small = _Table.empty(), _Table.empty()

    def find(self, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(segment, row) per key, int64 [n]; segment -1 where the key is not known.

        Args:
            wanted: uint64 [n, 4], see `pack_keys`.
        """
        segments, rows = self._large.find(wanted)
        missing = segments < 0
        if missing.any() and len(self._small.first):
            segments[missing], rows[missing] = self._small.find(wanted[missing])
        return segments, rows

    def refresh(self) -> bool:
        """Look for segments that were written since; returns whether there are any."""
        before = len(self.names)
        found = os.listdir(self.folder)
        if not self.names:
            self._open_catalog([name for name in found if name.startswith(_CATALOG)])
        known = set(self.names)
        fresh = sorted(name for name in found if name[0] != "." and name not in known)
        if fresh:
            self._add(fresh)
        if len(self.names) - self._catalogued >= max(_FEWEST, len(self.names) // _SHARE):
            self._write_catalog()
        return len(self.names) > before

    def _add(self, fresh: list[str]) -> None:
        keys = [_read_keys(self.folder / name / "keys.npy") for name in fresh]
        lengths = np.array([len(own) for own in keys])
        segments = np.repeat(np.arange(len(self.names), len(self.names) + len(fresh)), lengths)
        # Row within its segment: the running number less the segment's first one.
        rows = np.arange(len(segments)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        packed = np.concatenate(keys)
        self._small = _Table.sorted(
            np.concatenate([self._small.first, packed[:, 0]]),
            np.concatenate([self._small.rest, packed[:, 1:]]),
            np.concatenate([self._small.place, np.stack([segments, rows], axis=1)]),
        )
        self.names += fresh

    def _open_catalog(self, found: list[str]) -> None:
        """Map the catalog with the most segments, if there is one; its name ends with their number."""
        for _ in range(_ATTEMPTS):
            newest = max(found, key=_segments_in, default=None)
            if newest is None:
                return
            try:
                self._map_catalog(self.folder / newest)
                return
            except FileNotFoundError:  # another process has just replaced it
                found = [name for name in os.listdir(self.folder) if name.startswith(_CATALOG)]

    def _map_catalog(self, folder: Path) -> None:
        names = (folder / "names.txt").read_text(encoding="ascii").split()
        parts = [np.load(folder / f"{part}.npy", mmap_mode="r") for part in _PARTS]
        self._large, self._small = _Table(*(np.asarray(part) for part in parts)), _Table.empty()
        self.names, self._catalogued = names, len(names)

    def _write_catalog(self) -> None:
        """Merge both tables on disk, and map the result."""
        large, small = self._large, self._small
        merged = _Table.sorted(
            np.concatenate([large.first, small.first]),
            np.concatenate([large.rest, small.rest]),
            np.concatenate([large.place, small.place]),
        )
        old = [name for name in os.listdir(self.folder) if name.startswith(_CATALOGS)]
        name = f"{_CATALOG}{uuid.uuid4().hex}-{len(self.names)}"
        partial = self.folder / f".partial{name}"
        partial.mkdir()
        for part in _PARTS:
            np.save(partial / f"{part}.npy", getattr(merged, part), allow_pickle=False)
        (partial / "names.txt").write_text("\n".join(self.names), encoding="ascii")
        self._map_catalog(partial)  # before the rename: then another process may replace it at once
        partial.rename(self.folder / name)
        for other in old:  # a process that has one mapped keeps reading it
            shutil.rmtree(self.folder / other, ignore_errors=True)
        log.debug("%s: catalog of %s segments", self.folder, len(self.names))


def _segments_in(catalog: str) -> int:
    return int(catalog.rpartition("-")[2])


def _read_keys(file: Path) -> np.ndarray:
    """uint64 [n, 4]. Ten times as fast as np.load, which parses the header as Python."""
    raw = file.read_bytes()
    header = 10 + int.from_bytes(raw[8:10], "little")
    return np.frombuffer(raw, dtype=np.uint64, offset=header).reshape(-1, 4)
