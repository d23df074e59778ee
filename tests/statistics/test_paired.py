"""Reading an evaluation, and refusing two that cannot be compared, in one line that says what to do."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from components.base.errors import UserError
from components.statistics.bootstrap import paired_bootstrap
from components.statistics.paired import category_means, check_comparable, differences, read_evaluation
from tests.evaluation.samples import example_values, write_evaluation


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_evaluation(tmp_path / "one", {"trained": example_values(0.0), "base": example_values(-0.05)})


def change(folder: Path, table: str, *columns: pl.Expr) -> None:
    path = folder / f"{table}.parquet"
    pl.read_parquet(path).with_columns(*columns).write_parquet(path)


def test_reads_scores_and_examples_of_one_model(folder: Path) -> None:
    found = read_evaluation(folder, "trained")
    assert found.tasks == ["Answers", "Facts", "Intent", "Topics"]
    expected = example_values(0.0)
    for task in found.tasks:
        assert found.scores[task] == pytest.approx(expected[task].mean())
        assert sorted(found.values[task]) == pytest.approx(sorted(expected[task]))
    assert found.mean_task == pytest.approx(np.mean([values.mean() for values in expected.values()]))
    retrieval = (found.scores["Answers"] + found.scores["Facts"]) / 2
    assert found.mean_type == pytest.approx((retrieval + found.scores["Intent"] + found.scores["Topics"]) / 3)


def test_replicates_are_averaged_and_a_lone_example_counts_by_its_replicates(tmp_path: Path) -> None:
    write_evaluation(tmp_path, {"m": {"Intent": np.array([0.5, 1.0])}})
    rows = [("m", "Intent", "a", 0.0, 0), ("m", "Intent", "a", 1.0, 1), ("m", "Intent", "b", 1.0, 0)]
    columns = ["model", "task", "example_id", "score", "replicate"]
    pl.DataFrame(rows, schema=columns, orient="row").write_parquet(tmp_path / "examples.parquet")
    assert read_evaluation(tmp_path, "m").values["Intent"].tolist() == [0.5, 1.0]
    runs = [("m", "Intent", "all", value, run) for run, value in enumerate([0.7, 0.8])]
    pl.DataFrame(runs, schema=columns, orient="row").write_parquet(tmp_path / "examples.parquet")
    assert read_evaluation(tmp_path, "m").values["Intent"].tolist() == [0.7, 0.8]


def test_a_task_without_example_rows_counts_by_its_score(folder: Path) -> None:
    examples = pl.read_parquet(folder / "examples.parquet")
    examples.filter(pl.col("task") != "Facts").write_parquet(folder / "examples.parquet")
    found = read_evaluation(folder, "trained")
    assert found.values["Facts"].tolist() == [found.scores["Facts"]]
    assert paired_bootstrap(found.values, 50).replicates[1].tolist() == [found.scores["Facts"]] * 50


def test_missing_table_model_and_nan_are_named(folder: Path) -> None:
    with pytest.raises(UserError, match=r"scores\.parquet: missing"):
        read_evaluation(folder / "nowhere", "trained")
    with pytest.raises(UserError, match="no rows of 'production'; it holds base, trained"):
        read_evaluation(folder, "production")
    change(folder, "examples", pl.lit(float("nan")).alias("score"))
    with pytest.raises(UserError, match="row 0: field score: not a finite number"):
        read_evaluation(folder, "trained")


def test_examples_that_do_not_average_to_the_score_are_refused(folder: Path) -> None:
    change(folder, "scores", pl.col("score") + 0.01)
    with pytest.raises(UserError, match="task Answers: field score: the examples average"):
        read_evaluation(folder, "trained")


def test_different_tasks_and_different_examples_are_refused(folder: Path, tmp_path: Path) -> None:
    whole = read_evaluation(folder, "trained")
    fewer = {task: values for task, values in example_values(0.0).items() if task != "Topics"}
    with pytest.raises(UserError, match="task Topics is only in trained of one"):
        check_comparable(read_evaluation(write_evaluation(tmp_path / "two", {"m": fewer}), "m"), whole)
    shorter = {task: values[:-1] if task == "Facts" else values for task, values in example_values(0.0).items()}
    other = read_evaluation(write_evaluation(tmp_path / "three", {"m": shorter}), "m")
    with pytest.raises(UserError, match=r"task Facts: example 'e119' is in one evaluation only \(119 against 120"):
        differences(other, whole)


def test_rows_are_paired_by_id_not_by_place(folder: Path) -> None:
    whole = read_evaluation(folder, "trained")
    pl.read_parquet(folder / "examples.parquet").reverse().write_parquet(folder / "examples.parquet")
    assert all(not moved.any() for moved in differences(read_evaluation(folder, "trained"), whole).values())


def test_category_means() -> None:
    means = category_means({"a": 0.2, "b": 0.4, "c": 1.0}, {"a": "x", "b": "x", "c": "w"})
    assert means == {"w": 1.0, "x": pytest.approx(0.3)}
