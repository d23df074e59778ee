"""Train on what an adapter has not seen, and on a sample of what it has (`train.replay`).

The adapter's folder in fetch.models holds `trained_on.parquet`: a key of each pair that it was trained on. The sample
of old pairs keeps the adapter from forgetting them; it is drawn by their keys, so it does not depend on the order.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from components.base.errors import UserError
from components.base.shingles import mix_hashes
from components.training.examples import TrainingData
from components.training.pair_keys import pair_keys, read_trained_on


def only_new(data: TrainingData, adapter: Path, share: float, seed: int) -> TrainingData:
    """The pairs that the adapter was not trained on, and `share` as many of the others.

    Raises:
        UserError: the adapter's folder has no list of pairs, or every pair is in it.
    """
    known, pairs = read_trained_on(adapter), _pairs(data, seed)
    seen = pairs["key"].is_in(known.implode())
    count = len(pairs) - int(seen.sum())
    if not count:
        raise UserError("train.replay: no pair is new to train.init_adapter; remove train.replay, or add data")
    old = pairs.filter(seen).sort("draw", "task", "place").head(round(share * count))
    chosen = pl.concat([pairs.filter(~seen), old])
    kept = {
        task: examples.take(chosen.filter(pl.col("task") == number)["place"].sort().to_numpy())
        for number, (task, examples) in enumerate(data.examples.items())
    }
    return replace(data, examples={task: examples for task, examples in kept.items() if len(examples)})


def _pairs(data: TrainingData, seed: int) -> pl.DataFrame:
    """All pairs: task (its number), place, key, and draw, by which the old ones are sampled."""
    queries, documents = data.query_text.hashes(), data.document_text.hashes()
    parts = []
    for number, (task, examples) in enumerate(data.examples.items()):
        keys = pair_keys(task, queries[examples.query], documents[examples.positive])
        draws = mix_hashes(keys + mix_hashes(np.full(1, seed, np.uint64)))
        about = {"task": np.full(len(keys), number, np.int32), "place": np.arange(len(keys), dtype=np.int64)}
        parts.append(pl.DataFrame({**about, "key": keys, "draw": draws}))
    return pl.concat(parts)
