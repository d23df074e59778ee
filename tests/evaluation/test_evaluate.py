"""The stage: three models on the same tasks, tables that agree, and the same bytes twice."""

import json
import weakref
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from components.base.errors import UserError
from components.base.hashing import content_hash
from components.config import load_config
from components.contracts.tables import QUERIES, write_table
from components.contracts.tasks import read_tasks, write_tasks
from components.evaluation import evaluate, scoring
from components.evaluation.table import print_table
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


def write_outputs(outputs: Path) -> None:
    """What the stages before leave."""
    write_benchmark(outputs / "prepare" / "benchmark", size=18)
    queries = {"row": [0], "query_id": ["q"], "text": ["t"], "task": ["find"], "split": ["train"], "label": [None]}
    write_table(pl.DataFrame(queries), outputs / "prepare" / "queries.parquet", QUERIES)
    shots = {"find": {"number": 1, "examples": [{"query": "a", "response": "b"}, {"query": "c", "response": "d"}]}}
    (outputs / "select_shots").mkdir()
    (outputs / "select_shots" / "shots.yaml").write_text(yaml.safe_dump(shots))


def hashed(name: str, _: Any) -> Hashed:
    """Where `evaluate` gets a model from: one that needs no weights."""
    return Hashed(evaluate.MODELS.index(name))


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Outputs of the stages before, and encoders that need no model."""
    write_outputs(tmp_path / "outputs")
    monkeypatch.setattr(evaluate, "_source", hashed)
    return tmp_path


@dataclass(frozen=True)
class Finished:
    """A run that has ended: its folder, its metrics, and the pages it published."""

    out: Path
    metrics: dict[str, float]
    pages: dict[str, str]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """Do not write to it."""
    root = tmp_path_factory.mktemp("finished")
    write_outputs(root / "outputs")
    pages: dict[str, str] = {}
    stage = replace(context(root, "run"), publish=pages.__setitem__)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluate, "_source", hashed)
        return Finished(stage.out, evaluate.run(stage), pages)


def test_the_page_for_mlflow_has_the_seconds_and_the_output_has_none(finished: Finished) -> None:
    page = (finished.out / "report.html").read_text()
    assert "<th>seconds</th>" in finished.pages["report.html"]
    assert "<th>seconds</th>" not in page
    cost = page.split("<h2>Cost</h2>")[1].split("<h2>")[0]
    rows = finished.pages["report.html"].split("<h2>Cost</h2>")[1].split("<h2>")[0]
    assert rows.count("<td>") == cost.count("<td>") + 3  # one more for each model


def test_tables_are_complete(finished: Finished, capsys: pytest.CaptureFixture[str]) -> None:
    scores, metrics = pl.read_parquet(finished.out / "scores.parquet"), finished.metrics
    assert set(scores["model"]) == {"base", "trained", "teacher"}
    assert metrics["trained.find.ndcg_at_10"] == pytest.approx(
        scores.filter(model="trained", task="find")["score"].item(), abs=1e-6
    )
    assert metrics["gain.low"] <= metrics["gain.mean"] <= metrics["gain.high"]
    assert (finished.out / "report.html").stat().st_size > 1000
    assert len(list((finished.out / "results").glob("*/*/find.json"))) == 3
    print_table(finished.out)
    assert "ndcg_at_10" in capsys.readouterr().out


def test_only_the_trained_student_gets_shots(root: Path) -> None:
    run = context(root, "run")
    benchmark = evaluate.load_benchmark(run.config.evaluate, run.outputs / "prepare" / "benchmark")
    models = {name: evaluate._model(name, evaluate._source(name, run), benchmark, run) for name in evaluate.MODELS}
    shots = {name: model.prompts["find"].shots for name, model in models.items()}
    assert shots == {"base": (), "trained": (Shot("a", "b"),), "teacher": ()}


def test_a_rerun_continues_with_the_tasks_that_are_missing_and_gives_the_same_bytes(
    root: Path, monkeypatch: pytest.MonkeyPatch, finished: Finished
) -> None:
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
    kept = {path: path.stat().st_mtime_ns for path in run.work.glob("base/*/*/*.json")}
    assert len(done) == 4
    monkeypatch.setattr(scoring, "evaluate_task", real)
    assert evaluate.run(run) == finished.metrics
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert content_hash(run.out) == content_hash(finished.out)


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
    benchmark = root / "outputs" / "prepare" / "benchmark" / "tasks.yaml"
    write_tasks([read_tasks(benchmark)["alike"]], benchmark)  # one task is enough
    with only_collected_when_asked():
        evaluate.run(context(root, "run"))
    assert alive == [0, 0, 0]


def test_table_of_an_unfinished_evaluation(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="run the evaluate stage"):
        print_table(tmp_path)


def test_table_is_plain_json(finished: Finished) -> None:
    table = json.loads((finished.out / "table.json").read_text())
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
