"""Borda ranks against mteb's own function, ties and gaps included."""

import numpy as np
import polars as pl
import pytest

from components.evaluation.standing import public_scores
from components.statistics.borda import borda_ranks


def mteb_ranks(scores: pl.DataFrame) -> dict[str, int]:
    from mteb.benchmarks._create_table import _borda_rank_from_long

    ranked = _borda_rank_from_long(scores.rename({"model": "model_name", "task": "task_name"}))
    return dict(ranked.select("model_name", "Rank (Borda)").iter_rows())


@pytest.mark.parametrize("seed", range(4))
def test_equal_to_mteb_with_ties_and_missing_tasks(seed: int) -> None:
    random = np.random.default_rng(seed)
    rows = [
        (f"m{model}", f"t{task}", round(float(random.random()), 1))
        for model in range(12)
        for task in range(7)
        if random.random() < 0.8
    ]
    scores = pl.DataFrame(rows, schema=["model", "task", "score"], orient="row")
    assert borda_ranks(scores) == mteb_ranks(scores)


def test_equal_to_mteb_on_the_shipped_table() -> None:
    table = public_scores()
    ranks = borda_ranks(table)
    assert ranks == mteb_ranks(table)
    assert len(ranks) == 317
