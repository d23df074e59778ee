"""The k best of a stream of scores, held in 64-bit keys.

A key orders by score, then by the earlier document, so ties have one answer whatever the order of arrival, and the k
best of many keys are one partition. What comes in is first held against a floor that k documents are known to reach,
which all but a few scores of a long stream fall below; the few wait until there are enough of them for a partition.
The first floor comes from the first tiles: the k-th best of the maxima of chunks of their columns is reached by one
document in each of k chunks, and costs a fraction of their k-th best score.
"""

from collections.abc import Iterable

import numpy as np

Tile = tuple[np.ndarray, float]  # float32 or int32 [queries, n], and the scale: a score is scale times its entry

_WAITING = 2  # documents that wait to be merged, a query: this many times k
_CHUNKS = 2.5  # maxima to choose a floor from: this many times k

_EMPTY = np.iinfo(np.int64).min
_LAST_DOCUMENT = 0xFFFFFFFF


def as_keys(scores: np.ndarray, documents: np.ndarray) -> np.ndarray:
    """int64 keys of float32 scores and of documents below 2^32, both of one shape."""
    bits = (scores.astype(np.float32) + np.float32(0)).view(np.int32)  # + 0 makes -0 the same as 0
    keys = (bits ^ ((bits >> 31) & 0x7FFFFFFF)).astype(np.int64)
    keys <<= 32
    keys |= _LAST_DOCUMENT - documents
    return keys


def from_keys(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(documents int64, scores float32) of keys; -1 and -inf where a key is empty."""
    ordered = (keys >> 32).astype(np.int32)
    scores = (ordered ^ ((ordered >> 31) & 0x7FFFFFFF)).view(np.float32)
    there = keys != _EMPTY
    return np.where(there, _LAST_DOCUMENT - (keys & _LAST_DOCUMENT), -1), np.where(there, scores, -np.inf)


def keys_of_hits(documents: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """What `from_keys` undoes: int64 keys, empty where the document is -1."""
    return np.where(documents < 0, _EMPTY, as_keys(scores, documents))


def best_first(keys: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """(documents, scores), [rows, k] each: the k best of int64 [rows, n] keys, padded with -1 and -inf."""
    ordered = np.sort(keys, axis=1)[:, ::-1][:, :k]
    room = ((0, 0), (0, k - ordered.shape[1]))
    return from_keys(np.pad(ordered, room, constant_values=_EMPTY))


class RunningTopK:
    """The k best documents of some queries, so far."""

    def __init__(self, queries: int, k: int) -> None:
        self.k = k
        self._floor = np.full(queries, -np.inf, dtype=np.float32)  # k documents reach it, or more
        self._chosen = np.empty((0, 0), dtype=bool)  # written again and again: fresh memory takes as long as the test
        self._counts = np.zeros(queries, dtype=np.int64)
        self._make_room(_WAITING * k, np.full((queries, k), _EMPTY, dtype=np.int64))

    def add(self, tiles: Iterable[Tile], first: int, columns: int) -> None:
        """Take in the documents first ... first + columns - 1, of tiles side by side, each once."""
        if np.isneginf(self._floor).any():
            chunk = max(1, int(columns / (_CHUNKS * self.k)))
            tiles, maxima = zip(*((tile, _maxima(tile, chunk)) for tile in tiles), strict=True)
            self._floor = np.maximum(self._floor, _kth(np.concatenate(maxima, axis=1), self.k))
        for scores, scale in tiles:
            self._take(scores, scale, first)
            first += scores.shape[1]

    def keys(self) -> np.ndarray:
        """int64 [queries, k], in no order; empty keys where a query has fewer."""
        self._merge()
        return self._best

    def _take(self, scores: np.ndarray, scale: float, first: int) -> None:
        queries, width = scores.shape
        if self._chosen.shape != scores.shape:
            self._chosen = np.empty(scores.shape, dtype=bool)
        chosen = np.greater(scores, self._below_floor(scores.dtype, scale)[:, None], out=self._chosen)
        places = np.flatnonzero(chosen)  # several times as fast as 2-D nonzero
        starts = np.arange(queries) * width
        added = np.diff(np.searchsorted(places, starts), append=len(places))
        documents = places - np.repeat(starts, added) + first
        keys = as_keys(scores.reshape(-1)[places].astype(np.float32) * np.float32(scale), documents)
        self._wait(keys, added)

    def _wait(self, keys: np.ndarray, added: np.ndarray) -> None:
        """Put the keys, query after query, before those that wait already."""
        if (self._counts + added).max(initial=0) > self._waiting.shape[1]:
            self._merge()
        if added.max(initial=0) > self._waiting.shape[1]:
            self._make_room(int(added.max()), self._best)
        ends = np.arange(len(added)) * self._all.shape[1] + self._waiting.shape[1] - self._counts
        before = np.cumsum(added) - added
        self._all.reshape(-1)[np.repeat(ends + before, added) - np.arange(1, len(keys) + 1)] = keys
        self._counts += added

    def _make_room(self, number: int, best: np.ndarray) -> None:
        """A query's keys are one row, so that one partition finds its best: free, waiting, the k best so far."""
        self._all = np.full((len(best), number + self.k), _EMPTY, dtype=np.int64)
        self._waiting, self._best = self._all[:, :number], self._all[:, number:]
        self._best[:] = best

    def _merge(self) -> None:
        """What is not among the best stays where it was until it is written over: it can't come back among them."""
        used = self._all[:, self._waiting.shape[1] - self._counts.max(initial=0) :]
        used.partition(used.shape[1] - self.k, axis=1)
        self._floor = np.maximum(self._floor, from_keys(self._best.min(axis=1))[1])
        self._counts[:] = 0

    def _below_floor(self, dtype: np.dtype, scale: float) -> np.ndarray:
        """[queries], of the type of unscaled scores: none that is not above it reaches the floor."""
        if np.issubdtype(dtype, np.integer):
            bound = np.floor(self._floor.astype(np.float64) / scale) - 1
            return np.maximum(bound, np.iinfo(dtype).min).astype(dtype)
        return np.nextafter(self._floor / np.float32(scale), np.float32(-np.inf))


def _maxima(tile: Tile, chunk: int) -> np.ndarray:
    """float32 [queries, chunks]: the best score of every `chunk` documents; a rest of the tile is in no chunk."""
    scores, scale = tile
    width = scores.shape[1] // chunk
    chunks = scores[:, : width * chunk].reshape(len(scores), chunk, width)
    return chunks.max(axis=1).astype(np.float32) * np.float32(scale)


def _kth(scores: np.ndarray, k: int) -> np.ndarray:
    """[rows]: the k-th best of each row, -inf where it has fewer."""
    if scores.shape[1] < k:
        return np.full(len(scores), -np.inf, dtype=np.float32)
    return np.partition(scores, scores.shape[1] - k, axis=1)[:, -k]
