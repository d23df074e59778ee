"""What the comparison with peers rests on: the pairs that every side gets, and the interval of a difference."""

import json

import numpy as np
import polars as pl
import pytest

from benchmarks import quality_vs_peers, stage_store
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


@pytest.mark.slow
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


def test_three_seeds_spread_as_much_as_their_standard_error_says():
    """The percentile interval of three draws alone is a fifth too narrow."""
    sides = [[{"a": np.full(200, level)} for level in levels] for levels in ((0.1, 0.2, 0.3), (0.0, 0.0, 0.0))]
    mean, low, high = resampled_difference(*sides, ("a",))
    error = np.std([0.1, 0.2, 0.3], ddof=1) / np.sqrt(3)
    assert abs(mean - 0.2) < 1e-12
    assert 0.9 < (high - low) / (2 * 1.96 * error) < 1.1


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


def test_what_was_killed_before_its_end_begins_again(tmp_path, monkeypatch):
    ran = []

    def run(self, name):
        ran.append(name)
        if len(ran) == 5:
            raise KeyboardInterrupt
        return 1.0

    monkeypatch.setattr(quality_vs_peers.Bench, "stage", run)
    monkeypatch.setattr(quality_vs_peers, "write_student", lambda *_: None)
    bench = quality_vs_peers.Bench(tmp_path / "bench", None, True)
    with pytest.raises(KeyboardInterrupt):
        bench.prepare()
    (bench.folder / ".cache" / "vectors").mkdir()
    bench.prepare()
    assert len(ran) == 5 + 6
    assert not (bench.folder / ".cache" / "vectors").exists(), "found in the cache, they would cost nothing"
    bench.prepare()
    assert len(ran) == 5 + 6
    (bench.folder / ".cache" / "work" / "train-1").mkdir(parents=True)
    stage_store.forget_killed(bench.folder, "train")
    assert not (bench.folder / ".cache" / "work" / "train-1").exists(), "it would go on from its checkpoint"
    (tmp_path / "x").touch()
    with pytest.raises(SystemExit, match="holds files of something else"):
        quality_vs_peers.Bench(tmp_path, None, True).prepare()
    assert (tmp_path / "x").exists()


def test_a_peer_has_the_steps_that_our_seconds_allow(tmp_path, monkeypatch):
    def run(self, side, rate, seed, steps=0):
        seconds = 430 if side == "ours" else 50 + 5 * steps + (15 if steps == 8 else 0)  # of few steps: roughly
        (out := tmp_path / f"{side}-{steps}").mkdir(exist_ok=True)
        (out / "run.json").write_text(json.dumps({"cpu_seconds": seconds}))
        return out

    monkeypatch.setattr(quality_vs_peers.Bench, "run", run)
    assert quality_vs_peers.Bench(tmp_path, None, False).steps("sentence_transformers") == (430 - 50) / 5
