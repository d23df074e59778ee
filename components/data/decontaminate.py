"""Decontamination: find training texts that occur in the evaluation data, exactly, nearly or as a part.

A training text matches an evaluation text by one of three methods, tried in this order:

    exact      the texts are equal but for case, punctuation and spaces
    near       the sets of their word trigrams overlap by at least `threshold` (Jaccard); from MIN_WORDS words on
    contains   at least `containment` of the evaluation text's trigrams are in the training text, as when it is quoted;
               from MIN_CONTAINED words on, as shorter questions share most of their trigrams by chance

The reverse of the last (a training text that is a piece of a longer evaluation text) is not removed: it gives away no
more than its piece.

The search misses nothing. Of an evaluation text with n trigrams a match shares at least s = ceil(min(threshold,
containment) * n), as a Jaccard overlap of t means t times the trigrams of both, which are n or more. So it shares at
least k of any n - s + k of them, and only the n - s + k rarest are indexed (prefix filter: Chaudhuri, Ganti and Kaushik
2006, with k > 1 as Wang, Li and Feng 2012). Training texts that share k of those are candidates, and each is measured
on the texts themselves. A MinHash index finds a match at its threshold with some chance only, 1 - (1 - t**rows)**bands.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain
from typing import NamedTuple

import numpy as np
import polars as pl

from components.base.overlap import containment, jaccard, normalise, word_trigrams
from components.base.shingles import Hashes, hash_shingles, text_blocks
from components.base.threads import worker_count
from components.config import DecontaminateParams

SCHEMA = {"id": pl.String(), "matched_id": pl.String(), "method": pl.String(), "similarity": pl.Float64()}
METHODS = ("exact", "near", "contains")
MIN_WORDS = 8
MIN_CONTAINED = 13
_SHARED = 4  # k of the prefix filter: more gives fewer candidates, and a larger index
_BLOCK = 1 << 20  # characters that are hashed at once
_TEXTS = 1 << 12  # evaluation texts whose trigrams are ranked at once
_PAIRS = 1 << 22  # (training text, evaluation text) pairs that are counted at once


class Match(NamedTuple):
    """A training text and the evaluation text closest to it; the columns of decontamination.parquet."""

    id: str
    matched_id: str
    method: str
    similarity: float


class BenchmarkIndex:
    """Index of the evaluation texts: equal texts by their normalised form, the others by their rarest trigrams."""

    def __init__(self, texts: Mapping[str, str], params: DecontaminateParams, threads: int = 0) -> None:
        self._params = params
        self._threads = worker_count(threads)
        self._exact: dict[str, str] = {}
        for identity, text in texts.items():
            self._exact.setdefault(normalise(text, punctuation=False), identity)
        self._texts = list(self._exact)
        self._index(_distinct(self._texts))

    def _index(self, found: Hashes) -> None:
        """Keep the rarest trigrams of each text: `_hashes` (sorted), and who has them from `_start` on in `_owners`."""
        number = np.bincount(found.texts, minlength=len(self._texts))
        words = np.fromiter((text.count(" ") + 1 for text in self._texts), dtype=np.int64, count=len(self._texts))
        near, part = self._params.threshold, self._params.containment
        share = np.where(words >= MIN_CONTAINED, min(near, part), near)
        needed = np.maximum(np.ceil(share * number - 1e-9).astype(np.int64), 1)
        self._least = np.minimum(needed, _SHARED)
        hashes, owners = _rarest(found, number, number - needed + self._least)
        order = np.argsort(hashes, kind="stable")
        self._owners = owners[order]
        self._hashes, start = np.unique(hashes[order], return_index=True)
        self._start = np.append(start, len(order))
        self._shift = np.uint64(64 - min(28, max(8, len(self._hashes).bit_length() + 3)))
        self._known = np.zeros(1 << (64 - int(self._shift)), dtype=bool)  # by the first bits of a hash
        self._known[self._hashes >> self._shift] = True

    def matches(self, training: Mapping[str, str] | Iterable[tuple[str, str]]) -> pl.DataFrame:
        """Find training texts (by id) that match an evaluation text, each with its closest match.

        Args:
            training: ids and texts; an iterable is read in blocks, so its texts need not be in memory.

        Returns: id, matched_id, method (one of METHODS), similarity in [0, 1]; sorted by id.
        """
        pairs = training.items() if isinstance(training, Mapping) else training
        with ThreadPoolExecutor(self._threads) as pool:
            found = _bounded_map(pool, self._matches_of, text_blocks(pairs, _text_of, _BLOCK), 2 * self._threads)
            rows = sorted(chain.from_iterable(found))
        return pl.DataFrame(rows, schema=SCHEMA, orient="row")

    def _matches_of(self, block: Sequence[tuple[str, str]]) -> list[Match]:
        """The matches of one block of training texts."""
        matches, rest = [], []
        for identity, text in block:
            plain = normalise(text, punctuation=False)
            if plain in self._exact:
                matches.append(Match(identity, self._exact[plain], "exact", 1.0))
            else:
                rest.append((identity, plain))
        closest: dict[int, Match] = {}
        for place, owner in self._candidates([plain for _, plain in rest]):
            match = self._measure(*rest[place], self._texts[owner])
            known = closest.get(place)
            if match and (known is None or _closeness(match) > _closeness(known)):
                closest[place] = match
        return [*matches, *closest.values()]

    def _candidates(self, normalised: Sequence[str]) -> Iterator[tuple[int, int]]:
        """Pairs (position in `normalised`, position in the index) that share enough of the indexed trigrams."""
        hashes, texts = hash_shingles(normalised, min_words=MIN_WORDS)
        likely = self._known[hashes >> self._shift]
        hashes, texts = hashes[likely], texts[likely]
        places = np.searchsorted(self._hashes, hashes)
        known = self._hashes[np.minimum(places, len(self._hashes) - 1)] == hashes if len(self._hashes) else places < 0
        hits = np.unique(texts[known] * len(self._hashes) + places[known])  # each trigram of a text once, by text
        texts, places = np.divmod(hits, max(1, len(self._hashes)))
        total = np.cumsum(self._start[places + 1] - self._start[places])
        begin = 0
        while begin < len(texts):  # whole texts whose pairs fit in memory together
            full = np.searchsorted(total, (total[begin - 1] if begin else 0) + _PAIRS, side="right")
            end = len(texts) if full >= len(texts) else int(np.searchsorted(texts, texts[full]))
            if end <= begin:  # one text alone has more
                end = int(np.searchsorted(texts, texts[begin], side="right"))
            yield from self._sharing(texts[begin:end], places[begin:end])
            begin = end

    def _sharing(self, texts: np.ndarray, places: np.ndarray) -> Iterator[tuple[int, int]]:
        number = self._start[places + 1] - self._start[places]
        position = np.arange(int(number.sum())) - np.repeat(np.cumsum(number) - number, number)
        owners = self._owners[np.repeat(self._start[places], number) + position]
        pairs, shared = np.unique(np.repeat(texts, number) * len(self._texts) + owners, return_counts=True)
        pairs = pairs[shared >= self._least[pairs % len(self._texts)]]
        yield from zip((pairs // len(self._texts)).tolist(), (pairs % len(self._texts)).tolist(), strict=True)

    def _measure(self, identity: str, text: str, other: str) -> Match | None:
        """The match of two normalised texts, by the first method that finds one."""
        mine, its = (word_trigrams(one, min_words=MIN_WORDS) for one in (text, other))
        overlap = round(jaccard(mine, its), 6)
        if overlap >= self._params.threshold:
            return Match(identity, self._exact[other], "near", overlap)
        part = round(containment(its, mine), 6) if other.count(" ") + 1 >= MIN_CONTAINED else 0.0
        return Match(identity, self._exact[other], "contains", part) if part >= self._params.containment else None


def _text_of(pair: tuple[str, str]) -> str:
    return pair[1]


def _closeness(match: Match) -> tuple[int, float, str]:
    return -METHODS.index(match.method), match.similarity, match.matched_id


def _distinct(normalised: Sequence[str]) -> Hashes:
    """Hashed trigrams of each text once, hashed in blocks; sorted by text and hash."""
    parts = [Hashes(np.empty(0, dtype=np.uint64), np.empty(0, dtype=np.int32))]
    start = 0
    for block in text_blocks(normalised, str, _BLOCK):
        hashes, texts = hash_shingles(block, min_words=MIN_WORDS)
        order = np.lexsort((hashes, texts))
        hashes, texts = hashes[order], texts[order]
        new = np.ones(len(hashes), dtype=bool)
        new[1:] = (hashes[1:] != hashes[:-1]) | (texts[1:] != texts[:-1])
        parts.append(Hashes(hashes[new], (texts[new] + start).astype(np.int32)))
        start += len(block)
    return Hashes(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _rarest(found: Hashes, number: np.ndarray, kept: np.ndarray) -> Hashes:
    """Of text t, which has `number[t]` trigrams, the `kept[t]` that fewest texts have; of equals, the lower hashes."""
    frequency = _frequencies(found.hashes)
    end = np.cumsum(number)
    parts = []
    for first in range(0, len(number), _TEXTS):
        own = number[first : first + _TEXTS]
        begin = int(end[first] - number[first])
        part = slice(begin, begin + int(own.sum()))
        order = np.lexsort((frequency[part], found.texts[part]))  # stable: equals stay in the order of their hashes
        rank = np.arange(len(order)) - np.repeat(np.cumsum(own) - own, own)
        parts.append(begin + order[rank < np.repeat(kept[first : first + _TEXTS], own)])
    chosen = np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)
    return Hashes(found.hashes[chosen], found.texts[chosen])


def _frequencies(hashes: np.ndarray) -> np.ndarray:
    """How often each hash occurs, by position."""
    order = np.argsort(hashes)
    _, times = np.unique(hashes[order], return_counts=True)
    frequency = np.empty(len(order), dtype=np.int32)
    frequency[order] = np.repeat(times, times)
    return frequency


def _bounded_map(
    pool: ThreadPoolExecutor,
    function: Callable[[list[tuple[str, str]]], list[Match]],
    blocks: Iterable[list[tuple[str, str]]],
    ahead: int,
) -> Iterator[list[Match]]:
    """`pool.map` in order, that reads no more than `ahead` blocks before their results are taken."""
    waiting: deque[Future[list[Match]]] = deque()
    for block in blocks:
        waiting.append(pool.submit(function, block))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
