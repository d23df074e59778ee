"""One task through real mteb: the files it leaves, and that a second model is not scored on other data."""

import json
import warnings
from pathlib import Path

import mteb
import polars as pl
import pytest
from mteb.abstasks.abstask import AbsTask
from sklearn.exceptions import ConvergenceWarning, UndefinedMetricWarning

from components.base.errors import UserError
from components.benchmark.adapter import FoundryModel
from components.benchmark.starter import starter_tasks
from components.contracts.shots import TaskPrompt
from components.evaluation.runner import evaluate_task
from tests.evaluation.fakes import KINDS, HashEncoder, write_benchmark


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, type[AbsTask]]:
    folder = write_benchmark(tmp_path_factory.mktemp("runner") / "benchmark")
    return {task.metadata.name: task for task in starter_tasks(folder)}


def model(seed: int = 0) -> FoundryModel:
    return FoundryModel("m", HashEncoder(seed), {name: TaskPrompt(f"Do {name}") for name in KINDS}, {})


@pytest.fixture(scope="module")
def finished(tasks: dict[str, type[AbsTask]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every kind of task, evaluated once."""
    folder = tmp_path_factory.mktemp("finished")
    for make in tasks.values():
        evaluate_task(model(), make, folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", list(KINDS))
def test_mean_of_the_examples_is_the_tasks_score(finished: Path, name: str) -> None:
    examples = pl.read_parquet(finished / name / f"{name}.examples.parquet")
    summary = json.loads((finished / name / f"{name}.summary.json").read_text())
    assert examples["score"].mean() == pytest.approx(summary["score"], abs=1e-5)
    assert examples.select(pl.struct("example_id", "replicate").is_unique().all()).item()


@pytest.mark.parametrize("name", ["find", "rerank", "group", "alike"])
def test_score_is_plain_mtebs(finished: Path, tasks: dict[str, type[AbsTask]], name: str) -> None:
    found = mteb.evaluate(model(), tasks[name](), cache=None, co2_tracker=False, show_progress_bar=False)
    ours = json.loads((finished / name / f"{name}.json").read_text())
    assert ours["scores"]["test"][0]["main_score"] == pytest.approx(found.task_results[0].get_score(), abs=1e-6)


def test_result_is_mtebs_own_file_without_a_time(finished: Path) -> None:
    result = mteb.results.TaskResult.from_disk(finished / "find" / "find.json")
    assert (result.task_name, result.evaluation_time, result.date) == ("find", 0.0, None)
    assert "ndcg_at_10" in result.scores["test"][0]


@pytest.mark.slow
def test_second_model_is_scored_on_the_same_documents(tasks: dict[str, type[AbsTask]], tmp_path: Path) -> None:
    for place in ("first", "second"):
        evaluate_task(model(), tasks["group"], tmp_path / place)
    first, second = ((tmp_path / place / "group" / "group.json").read_bytes() for place in ("first", "second"))
    assert first == second


def test_finished_task_is_not_run_again_but_a_half_written_one_is(
    tasks: dict[str, type[AbsTask]], tmp_path: Path
) -> None:
    evaluate_task(model(), tasks["alike"], tmp_path)
    (tmp_path / "pairs.part").mkdir()
    (tmp_path / "pairs.part" / "junk").write_text("half")
    again = model()
    evaluate_task(again, tasks["alike"], tmp_path)
    assert isinstance(again.encoder, HashEncoder)
    assert again.encoder.calls == []
    evaluate_task(again, tasks["pairs"], tmp_path)
    assert not (tmp_path / "pairs.part").exists()
    assert sorted(path.name for path in (tmp_path / "pairs").iterdir())[0] == "pairs.examples.parquet"


def test_worst_queries_name_what_was_found_and_what_was_right(finished: Path) -> None:
    worst = pl.read_parquet(finished / "find" / "find.worst.parquet")
    first = worst.filter(pl.col("query_id") == worst["query_id"][0])
    assert first["score"][0] == worst["score"].min()
    assert first["relevant"].sum() == 1
    assert first["rank"][:3].to_list() == [1, 2, 3]


def test_missing_column_is_named(tmp_path: Path) -> None:
    folder = write_benchmark(tmp_path / "benchmark", size=6)
    pl.read_parquet(folder / "sort.test.parquet").drop("label").write_parquet(folder / "sort.test.parquet")
    with pytest.raises(UserError, match=r"sort\.test\.parquet: field label is missing"):
        starter_tasks(folder)


def test_missing_candidates_are_named(tmp_path: Path) -> None:
    folder = write_benchmark(tmp_path / "benchmark", size=6)
    (folder / "rerank.candidates.parquet").unlink()
    with pytest.raises(UserError, match=r"rerank\.candidates\.parquet: missing"):
        starter_tasks(folder)


def test_labels_never_predicted_are_no_news_but_other_warnings_are(
    tasks: dict[str, type[AbsTask]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def warns(*_: object, **__: object) -> None:
        warnings.warn("ill-defined", UndefinedMetricWarning, stacklevel=1)
        warnings.warn("no convergence", ConvergenceWarning, stacklevel=1)
        raise RuntimeError("enough")

    monkeypatch.setattr(mteb, "evaluate", warns)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        with pytest.raises(RuntimeError, match="enough"):
            evaluate_task(model(), tasks["sort"], tmp_path)
    assert [warning.category for warning in seen] == [ConvergenceWarning]
