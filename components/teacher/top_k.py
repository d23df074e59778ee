"""The k best of a stream of scores, held in 64-bit keys.

A key orders by score, then by the earlier document, so ties have one answer whatever the order of arrival, and the k
best of many keys are one partition. What comes in is first held against the k-th best so far, which all but a few
scores of a long stream fall below; the few are merged once a row has k of them.
"""

import numpy as np

_EMPTY = np.iinfo(np.int64).min
_LAST_DOCUMENT = 0xFFFFFFFF


def as_keys(scores: np.ndarray, documents: np.ndarray) -> np.ndarray:
    """int64 keys of float32 scores and of documents below 2^32, both of one shape."""
    bits = (scores.astype(np.float32) + np.float32(0)).view(np.int32)  # + 0 makes -0 the same as 0
    ordered = bits ^ ((bits >> 31) & 0x7FFFFFFF)
    return np.asarray((ordered.astype(np.int64) << 32) | (_LAST_DOCUMENT - documents))


def from_keys(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(documents int64, scores float32) of keys; -1 and -inf where a key is empty."""
    ordered = (keys >> 32).astype(np.int32)
    scores = (ordered ^ ((ordered >> 31) & 0x7FFFFFFF)).view(np.float32)
    there = keys != _EMPTY
    return np.where(there, _LAST_DOCUMENT - (keys & _LAST_DOCUMENT), -1), np.where(there, scores, -np.inf)


def best_first(keys: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """(documents, scores), [rows, k] each: the k best of int64 [rows, n] keys, padded with -1 and -inf."""
    ordered = np.sort(keys, axis=1)[:, ::-1][:, :k]
    room = ((0, 0), (0, k - ordered.shape[1]))
    return from_keys(np.pad(ordered, room, constant_values=_EMPTY))


class RunningTopK:
    """The k best documents of some queries, so far."""

    def __init__(self, queries: int, k: int) -> None:
        self.k = k
        self._best = np.full((queries, k), _EMPTY, dtype=np.int64)
        self._waiting: list[tuple[np.ndarray, np.ndarray]] = []  # (query, key) of what may belong to the best
        self._counts = np.zeros(queries, dtype=np.int64)
        self._threshold = np.full(queries, -np.inf, dtype=np.float32)

    def add(self, scores: np.ndarray, first: int, scale: float = 1.0) -> None:
        """Take in the documents first ... first + n - 1, each once.

        Args:
            scores: float32 or int32 [queries, n]; a document's score is scale times this.
        """
        chosen = scores > self._bound(scores, scale)[:, None]
        rows, columns = np.divmod(np.flatnonzero(chosen), scores.shape[1])  # several times as fast as 2-D nonzero
        if not len(rows):
            return
        scaled = scores[rows, columns].astype(np.float32) * np.float32(scale)
        self._waiting.append((rows, as_keys(scaled, columns + first)))
        self._counts += np.bincount(rows, minlength=len(self._counts))
        if self._counts.max() >= self.k:
            self._merge()

    def keys(self) -> np.ndarray:
        """int64 [queries, k], in no order; empty keys where a query has fewer."""
        self._merge()
        return self._best

    def _bound(self, scores: np.ndarray, scale: float) -> np.ndarray:
        """[queries], in the type of `scores`: only what is above can be among the best."""
        bound = self._threshold.astype(np.float64) / scale
        if scores.shape[1] > self.k and np.isneginf(self._threshold).any():
            bound = np.maximum(bound, np.partition(scores, scores.shape[1] - self.k, axis=1)[:, -self.k])
        if np.issubdtype(scores.dtype, np.integer):
            return np.maximum(np.floor(bound) - 1, np.iinfo(scores.dtype).min).astype(scores.dtype)
        return np.nextafter(bound.astype(np.float32), np.float32(-np.inf))  # an equal score may be an earlier document

    def _merge(self) -> None:
        if not self._waiting:
            return
        rows, keys = (np.concatenate(part) for part in zip(*self._waiting, strict=True))
        order = np.argsort(rows.astype(np.uint16), kind="stable")  # 16 bits: a radix sort
        rows, keys = rows[order], keys[order]
        slot = np.arange(len(rows)) - np.repeat(np.cumsum(self._counts) - self._counts, self._counts)
        wide = np.full((len(self._counts), self.k + self._counts.max()), _EMPTY, dtype=np.int64)
        wide[:, : self.k] = self._best
        wide[rows, self.k + slot] = keys
        self._best = np.partition(wide, wide.shape[1] - self.k, axis=1)[:, -self.k :].copy()
        self._threshold = from_keys(self._best.min(axis=1))[1]
        self._waiting, self._counts = [], np.zeros_like(self._counts)
