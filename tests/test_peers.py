"""What the comparison with peers rests on: the pairs that every side gets, and the interval of a difference."""

import json

import numpy as np
import polars as pl

from benchmarks.peers.data import training_pairs, write_jsonl
from benchmarks.peers.measure import resampled_difference
from benchmarks.quality_vs_peers import UNSEEN
from components.config import load_config
from components.data.inputs import NEGATIVES
from tests.samples import ROOT, write_training_tables


def test_every_side_gets_the_training_pairs_and_no_held_out_document(tmp_path):
    write_training_tables(tmp_path)
    prepared = tmp_path / "prepare"
    pl.DataFrame(schema=NEGATIVES).write_parquet(prepared / "own_negatives.parquet")
    queries = pl.read_parquet(prepared / "queries.parquet").filter(pl.col("split") == "train")
    corpus = pl.read_parquet(prepared / "corpus.parquet")
    judged = pl.read_parquet(prepared / "qrels.parquet").filter(pl.col("relevance") > 0)
    tasks = list(training_pairs(prepared))
    assert tasks
    assert sum(len(one.pairs) for one in tasks) == len(judged.filter(pl.col("query").is_in(queries["row"].implode())))
    held_out = set(corpus.filter(pl.col("split").is_not_null())["text"])
    assert not held_out & {text for one in tasks for text in one.documents}


def test_lines_are_json(tmp_path):
    rows = [{"query": "a\nb", "pos": ["ä"]}]
    write_jsonl(tmp_path / "x.jsonl", rows)
    assert [json.loads(line) for line in (tmp_path / "x.jsonl").read_text().splitlines()] == rows


def test_the_interval_of_a_difference():
    random = np.random.default_rng(3)
    base = random.uniform(size=(3, 2, 200))  # seeds, tasks, examples
    theirs = [{"a": seed[0], "b": seed[1]} for seed in base]
    better = [{task: values + 0.3 for task, values in one.items()} for one in theirs]
    mean, low, high = resampled_difference(better, theirs, ("a", "b"))
    assert abs(mean - 0.3) < 1e-9
    assert 0.2 < low < mean < high < 0.4
    mean, low, high = resampled_difference(theirs, theirs, ("a", "b"))
    assert mean == 0
    assert low < 0 < high, "seeds of the two sides are drawn on their own"


def test_the_unseen_tasks_are_tested_and_never_trained_on():
    from components.config.extends import read_parameters
    from components.config.load import parse_config

    config = parse_config(read_parameters(ROOT / "recipes" / "bench.yaml"), "bench")
    trained = {task.source for task in config.prepare.tasks.values() if task.train}
    for name in UNSEEN:
        task = config.prepare.tasks[name]
        assert task.test > 0
        assert task.source not in trained
    assert len(trained) >= 6
    assert load_config(ROOT / "recipes" / "bench.yaml").train.steps < 100
