"""The keys of training pairs as columns of 64-bit hashes: 8 bytes a pair, and no text is read.

The same texts in the same task are the same pair under any rows and ids. Two of n different pairs have one key with a
chance of n^2 / 2^65: 3e-6 at ten million pairs. Such a pair counts as old, and is only sampled.
"""

import hashlib
from pathlib import Path

import numpy as np
import polars as pl

from components.base.errors import UserError
from components.base.shingles import mix_hashes

TRAINED_ON = "trained_on.parquet"


def pair_keys(task: str, queries: np.ndarray, positives: np.ndarray) -> np.ndarray:
    """uint64 [n]: the keys of the pairs of a task, from the hashes of their texts (`Texts.hashes`)."""
    name = np.frombuffer(hashlib.sha256(task.encode()).digest()[:8], np.uint64)
    return mix_hashes(mix_hashes(queries + name) + positives)


def write_trained_on(keys: np.ndarray, folder: Path) -> None:
    """Write the keys of the pairs that the adapter in `folder` was trained on."""
    table = pl.DataFrame({"key": np.unique(keys)}, schema={"key": pl.UInt64})
    table.write_parquet(folder / TRAINED_ON, compression="zstd", statistics=False)


def read_trained_on(folder: Path) -> pl.Series:
    """The keys of the pairs that the adapter in `folder` was trained on.

    Raises:
        UserError: there is no list, or one of an earlier version.
    """
    file = folder / TRAINED_ON
    if not file.is_file():
        raise UserError(f"{file}: missing, so train.replay cannot tell old pairs; foundry update writes it")
    known = pl.read_parquet(file)["key"]
    if known.dtype != pl.UInt64:
        raise UserError(f"{file}: written by an earlier version; run foundry update again")
    return known
