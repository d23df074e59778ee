"""What an adapter has seen is left out but for a sample, which is the same every time."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from components.base.errors import UserError
from components.training.examples import Examples, TrainingData
from components.training.pair_keys import TRAINED_ON, pair_keys, write_trained_on
from components.training.replay import only_new

WORDS = 16  # pairs of the task that the adapter has seen


def seen(data: TrainingData, tasks: list[str]) -> np.ndarray:
    queries, documents = data.query_text.hashes(), data.document_text.hashes()
    own = ((task, data.examples[task]) for task in tasks)
    return np.concatenate([pair_keys(task, queries[some.query], documents[some.positive]) for task, some in own])


def test_new_pairs_and_a_sample_of_the_old(data: TrainingData, tmp_path: Path) -> None:
    write_trained_on(seen(data, ["words"]), tmp_path)
    assert set(only_new(data, tmp_path, 0, 1).examples) == {"animals"}
    new, old = len(data.examples["animals"]), len(data.examples["words"])
    some = only_new(data, tmp_path, 0.25, 1)
    assert len(some.examples["animals"]) == new
    assert len(some.examples["words"]) == round(0.25 * new) < old
    again, other = (only_new(data, tmp_path, 0.25, seed).examples["words"].query.tolist() for seed in (1, 2))
    assert some.examples["words"].query.tolist() == again != other
    assert len(only_new(data, tmp_path, 100, 1).examples["words"]) == old, "no more than there are"


def test_the_negatives_stay_with_their_pair() -> None:
    whole = Examples(
        np.array([5, 6, 7], np.uint32),
        np.array([1, 2, 3], np.uint32),
        np.array([0.1, 0.2, 0.3]),
        np.array([0, 2, 2, 5]),
        np.ones(3),
        np.array([10, 11, 20, 21, 22], np.uint32),
        np.arange(5.0),
    )
    kept = whole.take(np.array([0, 2]))
    assert (kept.query.tolist(), kept.starts.tolist()) == ([5, 7], [0, 2, 5])
    assert kept.negatives.tolist() == [10, 11, 20, 21, 22]
    assert whole.take(np.array([1])).negatives.tolist() == []


def test_nothing_new_and_no_list_are_errors(data: TrainingData, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=TRAINED_ON):
        only_new(data, tmp_path, 1, 1)
    write_trained_on(seen(data, list(data.examples)), tmp_path)
    with pytest.raises(UserError, match="no pair is new"):
        only_new(data, tmp_path, 1, 1)


def test_a_list_of_an_earlier_version_is_an_error(data: TrainingData, tmp_path: Path) -> None:
    pl.DataFrame({"key": ["0a"]}).write_parquet(tmp_path / TRAINED_ON)
    with pytest.raises(UserError, match="earlier version"):
        only_new(data, tmp_path, 1, 1)


def test_a_key_is_of_the_task_and_both_texts_in_their_order() -> None:
    one, two = np.array([7], np.uint64), np.array([9], np.uint64)
    keys = [pair_keys("a", one, two), pair_keys("a", two, one), pair_keys("b", one, two), pair_keys("a", one, one)]
    assert len({int(key[0]) for key in keys}) == 4
    assert pair_keys("a", one, two) == keys[0]
