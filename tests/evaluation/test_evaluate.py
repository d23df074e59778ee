"""The stage: three models on the same tasks, tables that agree, and the same bytes twice."""

import json
import weakref
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from components.base.hashing import content_hash
from components.config import load_config
from components.contracts.tables import QUERIES, write_table
from components.evaluation import evaluate, scoring
from components.evaluation.table import main as print_table
from components.model.prompt import Shot
from components.stage.context import StageContext
from tests.evaluation.fakes import HashEncoder, write_benchmark
from tests.samples import only_collected_when_asked


@dataclass(frozen=True)
class Hashed:
    """Where a fake encoder comes from."""

    seed: int

    def load(self) -> HashEncoder:
        return HashEncoder(self.seed)


def unlogged(metrics: dict[str, float], step: int | None = None) -> None:
    """Nobody listens."""


def context(root: Path, name: str) -> StageContext:
    folders = {part: root / name / part for part in ("out", "work", "cache")}
    for folder in folders.values():
        folder.mkdir(parents=True)
    config = load_config(Path("params.yaml"))
    return StageContext(config=config, outputs=root / "outputs", log=unlogged, **folders)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Outputs of the stages before, and encoders that need no model."""
    write_benchmark(tmp_path / "outputs" / "prepare" / "benchmark", size=18)
    queries = {"query_id": ["q"], "text": ["t"], "task": ["find"], "split": ["train"], "label": [None]}
    write_table(pl.DataFrame(queries), tmp_path / "outputs" / "prepare" / "queries.parquet", QUERIES)
    shots = {"find": {"number": 1, "examples": [{"query": "a", "response": "b"}, {"query": "c", "response": "d"}]}}
    (tmp_path / "outputs" / "select_shots").mkdir()
    (tmp_path / "outputs" / "select_shots" / "shots.yaml").write_text(yaml.safe_dump(shots))
    seeds = {"base": 0, "trained": 1, "teacher": 2}
    monkeypatch.setattr(evaluate, "_source", lambda name, _: Hashed(seeds[name]))
    return tmp_path


def test_the_page_for_mlflow_has_the_seconds_and_the_output_has_none(root: Path) -> None:
    pages: dict[str, str] = {}
    stage = replace(context(root, "timed"), publish=pages.__setitem__)
    evaluate.run(stage)
    page = (stage.out / "report.html").read_text()
    assert "<th>seconds</th>" in pages["report.html"]
    assert "<th>seconds</th>" not in page
    cost = page.split("<h2>Cost</h2>")[1].split("<h2>")[0]
    rows = pages["report.html"].split("<h2>Cost</h2>")[1].split("<h2>")[0]
    assert rows.count("<td>") == cost.count("<td>") + 3  # one more for each model


def test_two_runs_give_the_same_bytes_and_complete_tables(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = context(root, "first"), context(root, "second")
    metrics = evaluate.run(first)
    assert evaluate.run(second) == metrics
    assert content_hash(first.out) == content_hash(second.out)
    assert set(pl.read_parquet(first.out / "scores.parquet")["model"]) == {"base", "trained", "teacher"}
    assert metrics["trained.find.ndcg_at_10"] == pytest.approx(
        pl.read_parquet(first.out / "scores.parquet").filter(model="trained", task="find")["score"].item(), abs=1e-6
    )
    assert metrics["gain.low"] <= metrics["gain.mean"] <= metrics["gain.high"]
    assert (first.out / "report.html").stat().st_size > 1000
    assert len(list((first.out / "results").glob("*/*/find.json"))) == 3
    assert print_table(first.out) == 0
    assert "ndcg_at_10" in capsys.readouterr().out


def test_only_the_trained_student_gets_shots(root: Path) -> None:
    run = context(root, "run")
    benchmark = evaluate.load_benchmark(run.config.evaluate, run.outputs / "prepare" / "benchmark")
    models = {name: evaluate._model(name, evaluate._source(name, run), benchmark, run) for name in evaluate.MODELS}
    shots = {name: model.prompts["find"].shots for name, model in models.items()}
    assert shots == {"base": (), "trained": (Shot("a", "b"),), "teacher": ()}


def test_a_rerun_continues_with_the_tasks_that_are_missing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = context(root, "run")
    done: list[str] = []
    real = scoring.evaluate_task

    def dies_after_four(model, make, folder):  # type: ignore[no-untyped-def]  # the signature of evaluate_task
        if len(done) == 4:
            raise KeyboardInterrupt
        real(model, make, folder)
        done.append(make().metadata.name)

    monkeypatch.setattr(scoring, "evaluate_task", dies_after_four)
    with pytest.raises(KeyboardInterrupt):
        evaluate.run(run)
    assert not list(run.out.iterdir())
    finished = {path: path.stat().st_mtime_ns for path in run.work.glob("base/*/*/*.json")}
    assert len(done) == 4
    monkeypatch.setattr(scoring, "evaluate_task", real)
    evaluate.run(run)
    assert {path: path.stat().st_mtime_ns for path in finished} == finished


def test_a_model_is_gone_before_the_next_is_loaded(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[weakref.ref[HashEncoder]] = []
    alive: list[int] = []

    class Watched(Hashed):
        def load(self) -> HashEncoder:
            alive.append(sum(encoder() is not None for encoder in loaded))
            encoder: Any = super().load()
            encoder.cycle = encoder  # as torch models have
            loaded.append(weakref.ref(encoder))
            return encoder

    monkeypatch.setattr(evaluate, "_source", lambda name, _: Watched(evaluate.MODELS.index(name)))
    with only_collected_when_asked():
        evaluate.run(context(root, "run"))
    assert alive == [0, 0, 0]


def test_table_of_an_unfinished_evaluation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert print_table(tmp_path) == 1
    assert "run the evaluate stage" in capsys.readouterr().err


def test_table_is_plain_json(root: Path) -> None:
    run = context(root, "run")
    evaluate.run(run)
    table = json.loads((run.out / "table.json").read_text())
    assert set(table) == {"rows", "mean", "gain"}
    assert {row["category"] for row in table["rows"]} == {
        "Retrieval",
        "Reranking",
        "Classification",
        "Clustering",
        "PairClassification",
        "STS",
        "Summarization",
    }
