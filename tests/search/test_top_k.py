"""The running top k: what a full sort of the whole stream gives, ties to the earlier document."""

import numpy as np
import pytest

from components.search.top_k import RunningTopK, Tile, as_keys, best_first

SCALES = (0.5, 0.25)  # of the tiles, in turn: exact in float32


def tiles_of(entries: np.ndarray, widths: list[int]) -> list[Tile]:
    cuts = np.split(entries, np.cumsum(widths)[:-1], axis=1)
    return [(np.ascontiguousarray(cut), SCALES[i % 2]) for i, cut in enumerate(cuts)]


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
@pytest.mark.parametrize("spread", [3, 100_000])  # ties everywhere, and hardly any
@pytest.mark.parametrize("widths", [[4], [700, 333], [1, 2, 5, 900, 900, 37], [40] * 30])
@pytest.mark.parametrize("k", [1, 10, 60])
def test_equals_a_full_sort(dtype: type, spread: int, widths: list[int], k: int) -> None:
    entries = np.random.default_rng(k).integers(-spread, spread, (20, sum(widths))).astype(dtype)
    tiles = tiles_of(entries, widths)
    best, first = RunningTopK(len(entries), k), 0
    for group in (tiles[:2], tiles[2:]):
        if group:
            columns = sum(scores.shape[1] for scores, _ in group)
            best.add(iter(group), first, columns)
            first += columns
    scores = np.concatenate([scale * scores.astype(np.float32) for scores, scale in tiles], axis=1)
    everything = as_keys(scores, np.broadcast_to(np.arange(first), scores.shape))
    for found, wanted in zip(best_first(best.keys(), k), best_first(everything, k), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_nothing_of_a_rising_stream_is_lost() -> None:
    """Every document scores above all before it, so the buffer is merged for every tile."""
    best = RunningTopK(3, k=5)
    for first in range(0, 200, 20):
        best.add([(np.tile(np.arange(first, first + 20, dtype=np.float32), (3, 1)), 1.0)], first, columns=20)
    documents, _ = best_first(best.keys(), 5)
    assert documents.tolist() == [[199, 198, 197, 196, 195]] * 3
