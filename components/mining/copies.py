"""Near-duplicate detection: candidates that copy a positive.

Two texts are copies if they are equal except for case, punctuation and spaces; or if their sets of word trigrams
overlap by at least a threshold (Jaccard); or if they share most long words in any order (short words in between break
nearly every trigram). Sketches say which pairs are likely; those are measured, so a listed overlap is exact (if
no two different words have the same 64-bit hash).
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import polars as pl

from components.mining.sketches import ELEMENTS, FEWEST, Elements, Read, Sketches, likely_pairs, split_words

_SLACK = 0.2  # three standard errors of the estimate (each at most 0.063)
_CHUNK = 1 << 17  # pairs at once


def near_duplicates(
    left: np.ndarray,
    right: np.ndarray,
    read: Read,
    sketches: Sketches,
    limits: Mapping[str, float],
    pool: ThreadPoolExecutor,
) -> pl.DataFrame:
    """Find the pairs of texts that are copies of each other.

    Args:
        left, right: int64 [pairs], places of texts.
        read: the texts at some places.
        limits: least Jaccard overlap of `trigrams` and of `long_words`.

    Returns: left, right, overlap (of trigrams where they reach the limit, else of long words; 1 for equal words); each
        pair once, sorted.
    """

    def candidates(start: int) -> dict[str, np.ndarray]:
        a, b = left[start : start + _CHUNK], right[start : start + _CHUNK]
        equal = sketches.equal[a] == sketches.equal[b]
        found = {
            name: start + np.flatnonzero(equal | _likely(sketches, name, a, b, least)) for name, least in limits.items()
        }
        return found

    parts = list(pool.map(candidates, range(0, len(left), _CHUNK)))
    measured = []
    for name, least in limits.items():
        places = np.concatenate([part[name] for part in parts]) if parts else np.empty(0, dtype=np.int64)
        pairs = pl.DataFrame({"left": left[places], "right": right[places]}).unique().sort("left", "right")
        measured.append(_measured(pairs, read, sketches, name).filter(pl.col("overlap") >= least))
    return pl.concat(measured).unique(["left", "right"], keep="first", maintain_order=True).sort("left", "right")


def _likely(sketches: Sketches, name: str, left: np.ndarray, right: np.ndarray, least: float) -> np.ndarray:
    return likely_pairs(getattr(sketches, name), left, right, least - _SLACK)


def _measured(pairs: pl.DataFrame, read: Read, sketches: Sketches, name: str) -> pl.DataFrame:
    """Add `overlap`: the Jaccard overlap of the two sets; 1 for equal words."""
    used = np.unique(np.concatenate([pairs["left"].to_numpy(), pairs["right"].to_numpy()]))
    text, hashes = ELEMENTS[name](split_words(read(used)))
    elements = _distinct((used[text], hashes), fewest=FEWEST if name == "long_words" else 1)
    sizes = elements.group_by("text").len("size")
    pairs = pairs.with_row_index("pair")
    common = (
        pairs.join(elements, left_on="left", right_on="text")
        .join(elements, left_on=["right", "hash"], right_on=["text", "hash"])
        .group_by("pair")
        .len("common")
    )
    equal = sketches.equal[pairs["left"].to_numpy()] == sketches.equal[pairs["right"].to_numpy()]
    overlap = pl.col("common") / (pl.col("size") + pl.col("size_right") - pl.col("common"))
    return (
        pairs.with_columns(equal=pl.Series(equal, dtype=pl.Boolean))
        .join(common, on="pair", how="left")
        .join(sizes, left_on="left", right_on="text", how="left")
        .join(sizes, left_on="right", right_on="text", how="left")
        .select("left", "right", overlap=pl.when("equal").then(1.0).otherwise(overlap.fill_null(0.0)))
    )


def _distinct(elements: Elements, fewest: int) -> pl.DataFrame:
    """text, hash: each element of a text once; texts with fewer than `fewest` are left out."""
    text, hashes = elements
    found = pl.DataFrame({"text": text, "hash": hashes}, schema={"text": pl.Int64, "hash": pl.UInt64}).unique()
    return found.filter(pl.len().over("text") >= fewest)
