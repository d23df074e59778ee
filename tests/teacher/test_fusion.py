"""Two teachers as one score: on the scale of the first, wherever the second's scores lie."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from components.base.errors import UserError
from tests.teacher.both_stages import CROSS_ENCODER, run_both


def scores(folder: Path, models: Path, **scoring: object) -> pl.DataFrame:
    written = run_both(folder, models, **scoring).out / "teacher_scores.parquet"
    tasks = pl.read_parquet(folder / "outputs" / "prepare" / "queries.parquet").select("task", query="row")
    return pl.read_parquet(written).join(tasks.cast({"query": pl.UInt32}), on="query", maintain_order="left")


@pytest.mark.slow
@pytest.mark.parametrize("second", [CROSS_ENCODER, {"reranker": "dense", "model": "other"}], ids=["logits", "cosines"])
def test_the_second_teacher_moves_scores_by_its_weight_on_the_first_ones_scale(
    tmp_path: Path, models: Path, second: dict[str, object]
) -> None:
    alone = scores(tmp_path / "alone", models)
    half, all_of_it = (
        scores(tmp_path / str(weight), models, second={**second, "weight": weight}) for weight in (0.5, 1.0)
    )
    column = "reranker_score"
    np.testing.assert_allclose(half[column], (alone[column] + all_of_it[column]) / 2, atol=1e-6)
    for (task,), own in alone.group_by("task"):
        other = all_of_it.filter(pl.col("task") == task)
        pairs = own.join(other, on=["query", "document"], suffix="_other")
        assert not np.allclose(pairs[column], pairs[f"{column}_other"])
        for statistic in (np.mean, np.std):  # equal pairs of texts are scored once: a task has none here
            assert statistic(own[column].to_numpy()) == pytest.approx(statistic(other[column].to_numpy()), rel=1e-4)


@pytest.mark.slow
def test_a_second_teacher_that_ranks_nothing_is_refused(
    tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("components.teacher.score.PairModel", Constant)
    with pytest.raises(UserError, match=r"^score\.second: all 1?[0-9]+ scores of task facts are 3: [^\n]*null$"):
        run_both(tmp_path, models, second={"reranker": "dense", "model": "other"})


class Constant:
    def __init__(self, *_: object) -> None:
        pass

    def score(self, pairs: list[tuple[str, str]]) -> np.ndarray:
        return np.full(len(pairs), 3.0)
