"""Streaming top-k of scores, as 64-bit keys.

A key holds the score in its upper 32 bits and the inverted document number in its lower 32, so integer order is score
order, ties go to the earlier document in any order of arrival, and the k best of many keys are one partition.

New scores are compared with a lower bound on the k-th best. Most of a long stream fails that test; the survivors are
appended to a buffer, which is merged into the k best when it is full, and the merge raises the bound. The first bound
comes from the first tiles: their columns are cut into chunks, and the k-th best of the chunks' maxima is reached by at
least k documents. It costs a fraction of an exact k-th best.
"""

from collections.abc import Iterable

import numpy as np

Tile = tuple[np.ndarray, float]  # float32 or int32 [queries, n], and the scale: a score is scale times its entry

_BUFFER = 2  # buffer of a query, in multiples of k
_CHUNKS = 2.5  # chunks whose maxima give the first lower bound, in multiples of k

EMPTY = np.iinfo(np.int64).min  # below every key of a document
LAST_DOCUMENT = 0xFFFFFFFF


def as_keys(scores: np.ndarray, documents: np.ndarray) -> np.ndarray:
    """int64 keys of float32 scores and of documents below 2^32, both of one shape."""
    # The bits of a float32, read as int32, order like the float for positive values. + 0 makes -0.0 the same as 0.0.
    bits = (scores.astype(np.float32) + np.float32(0)).view(np.int32)
    # Negative floats order backwards: flip all their bits but the sign.
    keys = (bits ^ ((bits >> 31) & 0x7FFFFFFF)).astype(np.int64)
    # Upper half: the score. Lower half: larger for an earlier document, so it wins a tie.
    keys <<= 32
    keys |= LAST_DOCUMENT - documents
    return keys


def from_keys(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(documents int64, scores float32) of keys; -1 and -inf where a key is empty."""
    # The flip of the negative bits is its own inverse.
    ordered = (keys >> 32).astype(np.int32)
    scores = (ordered ^ ((ordered >> 31) & 0x7FFFFFFF)).view(np.float32)
    is_document = keys != EMPTY
    return np.where(is_document, LAST_DOCUMENT - (keys & LAST_DOCUMENT), -1), np.where(is_document, scores, -np.inf)


def keys_of_hits(documents: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Inverse of `from_keys`: int64 keys, empty where the document is -1."""
    return np.where(documents < 0, EMPTY, as_keys(scores, documents))


def best_first(keys: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """(documents, scores), [rows, k] each: the k best of int64 [rows, n] keys, padded with -1 and -inf."""
    ordered = np.sort(keys, axis=1)[:, ::-1][:, :k]
    missing = ((0, 0), (0, k - ordered.shape[1]))
    return from_keys(np.pad(ordered, missing, constant_values=EMPTY))


class RunningTopK:
    """The k best documents seen so far, for each of some queries."""

    def __init__(self, queries: int, k: int) -> None:
        self.k = k
        self._bound = np.full(queries, -np.inf, dtype=np.float32)  # at least k documents score this or more
        self._mask = np.empty((0, 0), dtype=bool)  # reused: to allocate it takes as long as the comparison
        self._counts = np.zeros(queries, dtype=np.int64)  # keys in each query's buffer
        self._allocate(_BUFFER * k, np.full((queries, k), EMPTY, dtype=np.int64))

    def add(self, tiles: Iterable[Tile], first: int, columns: int) -> None:
        """Add the scores of documents first ... first + columns - 1: tiles side by side, each read once."""
        if np.isneginf(self._bound).any():
            # The first tiles are kept in memory until their chunks' maxima have given a lower bound.
            chunk = max(1, int(columns / (_CHUNKS * self.k)))
            tiles, maxima = zip(*((tile, _chunk_maxima(tile, chunk)) for tile in tiles), strict=True)
            self._bound = np.maximum(self._bound, _kth_best(np.concatenate(maxima, axis=1), self.k))
        for scores, scale in tiles:
            self._add_tile(scores, scale, first)
            first += scores.shape[1]

    def keys(self) -> np.ndarray:
        """int64 [queries, k], unordered; empty keys where a query has fewer."""
        self._merge()
        return self._best

    def _add_tile(self, scores: np.ndarray, scale: float, first: int) -> None:
        queries, width = scores.shape
        # Survivors: scores that can reach the bound.
        if self._mask.shape != scores.shape:
            self._mask = np.empty(scores.shape, dtype=bool)
        survives = np.greater(scores, self._largest_failing(scores.dtype, scale)[:, None], out=self._mask)
        places = np.flatnonzero(survives)  # row-major positions; several times as fast as 2-D nonzero
        # How many of them are in each row: differences of the positions at which rows start.
        starts = np.arange(queries) * width
        added = np.diff(np.searchsorted(places, starts), append=len(places))
        # Column within the row, and from it the document.
        documents = places - np.repeat(starts, added) + first
        keys = as_keys(scores.reshape(-1)[places].astype(np.float32) * np.float32(scale), documents)
        self._append(keys, added)

    def _append(self, keys: np.ndarray, added: np.ndarray) -> None:
        """Write keys, sorted by query, into the buffers; `added` int64 [queries] says how many each query gets."""
        # A full buffer is merged; one that is too small for this tile alone is allocated again.
        if (self._counts + added).max(initial=0) > self._buffer.shape[1]:
            self._merge()
        if added.max(initial=0) > self._buffer.shape[1]:
            self._allocate(int(added.max()), self._best)
        # Buffers fill from their right end. `ends`: flat position of each query's leftmost used cell.
        ends = np.arange(len(added)) * self._rows.shape[1] + self._buffer.shape[1] - self._counts
        # The j-th key of a query goes to its end - 1 - j; j = position in `keys` - keys of the queries before.
        before = np.cumsum(added) - added
        self._rows.reshape(-1)[np.repeat(ends + before, added) - np.arange(1, len(keys) + 1)] = keys
        self._counts += added

    def _allocate(self, size: int, best: np.ndarray) -> None:
        """One row a query, [free cells | used buffer | k best], so that one partition merges buffer and best."""
        self._rows = np.full((len(best), size + self.k), EMPTY, dtype=np.int64)
        self._buffer, self._best = self._rows[:, :size], self._rows[:, size:]
        self._best[:] = best

    def _merge(self) -> None:
        """Move the k largest keys of buffer and best into best, and raise the bound to the k-th of them."""
        # Columns that any query uses. A query's unused cells there hold old keys that lost a merge, or empty ones:
        # they lose again, so they need not be cleared.
        used = self._rows[:, self._buffer.shape[1] - self._counts.max(initial=0) :]
        used.partition(used.shape[1] - self.k, axis=1)
        self._bound = np.maximum(self._bound, from_keys(self._best.min(axis=1))[1])
        self._counts[:] = 0

    def _largest_failing(self, dtype: np.dtype, scale: float) -> np.ndarray:
        """[queries], of the tile's type: a score at or below it times `scale` is below the bound."""
        if np.issubdtype(dtype, np.integer):
            # - 1: a score of exactly the bound must pass (it may win a tie), and one that float32 rounds up to it.
            bound = np.floor(self._bound.astype(np.float64) / scale) - 1
            return np.maximum(bound, np.iinfo(dtype).min).astype(dtype)
        return np.nextafter(self._bound / np.float32(scale), np.float32(-np.inf))


def _chunk_maxima(tile: Tile, chunk: int) -> np.ndarray:
    """float32 [queries, chunks]: the largest score of every `chunk` documents; a remainder of the tile is left out."""
    scores, scale = tile
    chunks = scores.shape[1] // chunk
    # Chunk c holds the columns c, c + chunks, c + 2 chunks, ...: the maximum runs over the slow axis, which is faster.
    strided = scores[:, : chunks * chunk].reshape(len(scores), chunk, chunks)
    return strided.max(axis=1).astype(np.float32) * np.float32(scale)


def _kth_best(scores: np.ndarray, k: int) -> np.ndarray:
    """[rows]: the k-th best of each row, -inf where it has fewer."""
    if scores.shape[1] < k:
        return np.full(len(scores), -np.inf, dtype=np.float32)
    return np.partition(scores, scores.shape[1] - k, axis=1)[:, -k]
