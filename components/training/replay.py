"""Train on what an adapter has not seen, and on a sample of what it has (`train.replay`).

The adapter's folder in fetch.models holds `trained_on.parquet`: a key of each pair that it was trained on. The sample
of old pairs keeps the adapter from forgetting them; it is drawn by their keys, so it does not depend on the order.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from components.base.errors import UserError
from components.training.examples import Examples, TrainingData

TRAINED_ON = "trained_on.parquet"
_PIECE = 1 << 16  # pairs whose texts and keys are Python objects at once
_PAIRS = {"task": pl.String, "place": pl.Int64, "key": pl.String, "draw": pl.Binary}


def pair_key(task: str, query: str, positive: str) -> str:
    """The key of a training pair: the same texts in the same task are the same pair under any ids."""
    return hashlib.sha256("\0".join((task, query, positive)).encode()).hexdigest()[:32]


def write_trained_on(keys: Iterable[str], folder: Path) -> None:
    """Write the keys of the pairs that the adapter in `folder` was trained on."""
    table = pl.DataFrame({"key": sorted(set(keys))}, schema={"key": pl.String})
    table.write_parquet(folder / TRAINED_ON, compression="zstd", statistics=False)


def only_new(data: TrainingData, adapter: Path, share: float, seed: int) -> TrainingData:
    """The pairs that the adapter was not trained on, and `share` as many of the others.

    Raises:
        UserError: the adapter's folder has no list of pairs, or every pair is in it.
    """
    file = adapter / TRAINED_ON
    if not file.is_file():
        raise UserError(f"{file}: missing, so train.replay cannot tell old pairs; foundry update writes it")
    known = pl.read_parquet(file)["key"]
    pairs = pl.concat([_pairs(data, task, examples, seed) for task, examples in data.examples.items()])
    seen = pairs["key"].is_in(known.implode())
    count = len(pairs) - int(seen.sum())
    if not count:
        raise UserError("train.replay: no pair is new to train.init_adapter; remove train.replay, or add data")
    old = pairs.filter(seen).sort("draw", "task", "place").head(round(share * count))
    chosen = pl.concat([pairs.filter(~seen), old])
    kept = {
        task: examples.take(chosen.filter(pl.col("task") == task)["place"].sort().to_numpy())
        for task, examples in data.examples.items()
    }
    return replace(data, examples={task: examples for task, examples in kept.items() if len(examples)})


def _pairs(data: TrainingData, task: str, examples: Examples, seed: int) -> pl.DataFrame:
    """A task's pairs: task, place, key, and draw, by which the old ones are sampled."""
    parts = [pl.DataFrame(schema=_PAIRS)]
    for start in range(0, len(examples), _PIECE):
        part = slice(start, start + _PIECE)
        texts = zip(
            data.query_text.take(examples.query[part]), data.document_text.take(examples.positive[part]), strict=True
        )
        keys = [pair_key(task, query, positive) for query, positive in texts]
        draws = [hashlib.sha256(f"{seed} {key}".encode()).digest() for key in keys]
        places = np.arange(start, start + len(keys), dtype=np.int64)
        parts.append(pl.DataFrame({"task": task, "place": places, "key": keys, "draw": draws}, schema=_PAIRS))
    return pl.concat(parts)
