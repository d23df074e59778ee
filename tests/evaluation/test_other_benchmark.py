"""The whole stage on a benchmark other than MTEB(eng, v2), with a task of the user's own, in its own layout."""

import json
import shutil
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import mteb
import polars as pl
import pytest
from mteb.abstasks.abstask import AbsTask
from mteb.benchmarks.benchmark import Benchmark
from mteb.mocks import ALL_MOCK_TASK_TEST_GRID

from components.base.errors import UserError
from components.benchmark.tasks import load_benchmark
from components.config import Config, EvaluateParams, FetchParams, PrepareParams
from components.data.local_files import write_list
from components.evaluation import evaluate
from components.evaluation.table import print_table
from components.stage.context import StageContext
from tests.evaluation.test_evaluate import context, hashed

NAME = "Company(fra)"
SCOPES: dict[str, dict[str, Any]] = {  # of two languages and, in retrieval, two splits, the benchmark takes one
    "MockMultilingualRetrievalTask": {"hf_subsets": ["fra"], "eval_splits": ["test"]},
    "MockMultilingualClassificationTask": {"hf_subsets": ["fra"]},
    "MockMultilingualSTSTask": {"hf_subsets": ["fra", "eng"]},
    "MockMultilingualBitextMiningTask": {"hf_subsets": ["fra"]},
    "MockRegressionTask": {},
}
MOCKS = {type(task).__name__: type(task) for task in ALL_MOCK_TASK_TEST_GRID}
INSTRUCTIONS = {
    kind: {"instruction": f"Do {kind}", "symmetric": kind == "STS"}
    for kind in ("Retrieval", "Classification", "STS", "BitextMining", "Regression")
}


def register(patch: pytest.MonkeyPatch, scopes: dict[str, dict[str, Any]]) -> None:
    """Make mteb know the benchmark, and `get_task` its tasks."""
    registry = sys.modules["mteb.get_tasks"]._TASKS_REGISTRY  # mteb.get_tasks is the function
    for name in scopes:
        patch.setitem(registry, name, MOCKS[name])
    tasks: list[AbsTask] = [mteb.get_task(name, **scope) for name, scope in scopes.items()]
    patch.setattr(mteb, "get_benchmark", {NAME: Benchmark(NAME, tasks)}.__getitem__)


def write_own_task(root: Path) -> None:
    """fetch and prepare of a user's semicolon table: a task that is held out only."""
    lines = [f"how does part {n} of the mill work?;Part {n} turns wheel {n * 7}." for n in range(40)]
    (root / "faq.csv").write_text("\n".join(["Frage;Antwort", *lines]) + "\n", encoding="utf-8")
    source = {
        "origin": {"kind": "local", "path": str(root / "faq.csv"), "licence": "internal"},
        "format": "csv",
        "fields": {"query": "Frage", "document": "Antwort"},
    }
    task = {"source": "faq", "kind": "retrieval", "instruction": "Answer", "train": 0, "dev": 0, "test": 20}
    config = Config.model_construct(
        seed=7,
        threads=1,
        fetch=FetchParams.model_validate({"sources": {"faq": source}, "models": {}}),
        prepare=PrepareParams.model_validate({"tasks": {"faq": task}}),
    )
    from components.data import fetch, prepare

    folders = {name: root / name for name in ("outputs", "out", "work", "cache")}
    stage = StageContext(config=config, log=lambda metrics, step: None, **folders)
    write_list(config.fetch, stage.outputs, root)
    for part in (fetch, prepare):
        out = stage.outputs / part.__name__.rpartition(".")[2]
        out.mkdir(parents=True, exist_ok=True)
        part.run(replace(stage, out=out))


@dataclass(frozen=True)
class Run:
    """A finished stage."""

    out: Path
    metrics: dict[str, float]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Do not write to it."""
    root = tmp_path_factory.mktemp("other")
    write_own_task(root)
    (root / "outputs" / "select_shots").mkdir()
    (root / "outputs" / "select_shots" / "shots.yaml").write_text("{}\n")
    for part in ("out", "work", "cache"):
        shutil.rmtree(root / part, ignore_errors=True)
    params = {"benchmark": NAME, "instructions": INSTRUCTIONS, "held_out": ["faq"]}
    with pytest.MonkeyPatch.context() as patch:
        register(patch, SCOPES)
        patch.setattr(evaluate, "_source", hashed)
        stage = replace(context(root / "run", "evaluate"), outputs=root / "outputs")
        config = stage.config.model_copy(update={"evaluate": EvaluateParams.model_validate(params)})
        stage = replace(stage, config=config)
        return Run(stage.out, evaluate.run(stage))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_every_task_has_a_score_and_the_benchmark_s_own_languages_and_splits(
    finished: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    scores = pl.read_parquet(finished.out / "scores.parquet")
    assert set(scores["task"]) == {*SCOPES, "faq"}
    assert len(scores) == 3 * 6
    for name, scope in SCOPES.items():
        (file,) = (finished.out / "results").glob(f"*__trained/*/{name}.json")
        found = json.loads(file.read_text())["scores"]
        assert list(found) == scope.get("eval_splits", ["test"])
        for parts in found.values():
            assert {part["hf_subset"] for part in parts} == set(scope.get("hf_subsets", ["default"]))
    assert finished.metrics["trained.faq.ndcg_at_10"] > 0
    assert finished.metrics["trained.mean"] == pytest.approx(scores.filter(model="trained")["score"].mean(), abs=1e-5)
    assert (finished.out / "report.html").stat().st_size > 1000
    print_table(finished.out)
    assert "faq" in capsys.readouterr().out


@pytest.mark.slow
def test_examples_average_to_the_score_where_a_task_has_them(finished: Run) -> None:
    scores = pl.read_parquet(finished.out / "scores.parquet").select("model", "task", "score")
    means = pl.read_parquet(finished.out / "examples.parquet").group_by("model", "task").agg(pl.col("score").mean())
    both = means.join(scores, on=["model", "task"], suffix="_of_task")
    assert both["score"].to_list() == pytest.approx(both["score_of_task"].to_list(), abs=1e-5)
    assert {"MockMultilingualRetrievalTask", "faq"} <= set(both["task"])
    assert not {"MockMultilingualSTSTask", "MockMultilingualBitextMiningTask"} & set(both["task"])  # too few, no mean


def test_a_kind_that_is_not_of_texts_alone_is_refused_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch, {**SCOPES, "MockMultilingualImageClassificationTask": {}})
    params = EvaluateParams.model_validate({"benchmark": NAME, "instructions": INSTRUCTIONS})
    with pytest.raises(UserError, match=r"Company\(fra\): task MockMultilingualImageClassification\w* has image"):
        load_benchmark(params, Path("unused"))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_mteb_s_leaderboard_scores_of_a_benchmark_are_ours(finished: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch, SCOPES)
    found = mteb.get_benchmark(NAME).get_score(mteb.ResultCache(finished.out).load_results(), raise_error=True)
    scores = pl.read_parquet(finished.out / "scores.parquet").filter(pl.col("task").is_in(list(SCOPES)))
    assert len(found) == 3
    for model, values in found.items():
        own = scores.filter(model=model.split("/")[1])["score"].mean()
        assert values["Mean(Task)"] == pytest.approx(own, abs=1e-5)
