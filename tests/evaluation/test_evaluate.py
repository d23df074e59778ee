"""The stage: three models on the same tasks, tables that agree, and the same bytes twice."""

import json
import weakref
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import mteb
import polars as pl
import pytest
import yaml

from components.base.errors import UserError
from components.base.hashing import content_hash
from components.config import ShotParams, load_config
from components.contracts.shots import read_prompts
from components.contracts.tables import QUERIES, write_table
from components.contracts.tasks import read_tasks, write_tasks
from components.evaluation import evaluate, scoring
from components.evaluation.table import print_table
from components.model.prompt import Shot
from components.stage.context import StageContext
from tests.evaluation.fakes import KINDS, HashEncoder, write_benchmark
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
    examples = [{"query": "a", "response": "b"}, {"query": "c", "response": "d"}]
    entry = {
        "number": 1,
        "instruction": "Trained find",
        "symmetric": False,
        "serves": ["rerank", "alike"],
        "examples": examples,
    }
    shots = {"find": entry}
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


@pytest.mark.slow
def test_the_page_for_mlflow_has_the_seconds_and_the_output_has_none(finished: Finished) -> None:
    page = (finished.out / "report.html").read_text()
    assert "<th>seconds</th>" in finished.pages["report.html"]
    assert "<th>seconds</th>" not in page
    cost = page.split("<h2>Cost</h2>")[1].split("<h2>")[0]
    rows = finished.pages["report.html"].split("<h2>Cost</h2>")[1].split("<h2>")[0]
    assert rows.count("<td>") == cost.count("<td>") + 3  # one more for each model


@pytest.mark.slow
def test_tables_are_complete(finished: Finished, capsys: pytest.CaptureFixture[str]) -> None:
    scores, metrics = pl.read_parquet(finished.out / "scores.parquet"), finished.metrics
    assert set(scores["model"]) == {"base", "trained", "teacher"}
    assert metrics["trained.find.ndcg_at_10"] == pytest.approx(
        scores.filter(model="trained", task="find")["score"].item(), abs=1e-6
    )
    assert metrics["gain.low"] <= metrics["gain.mean"] <= metrics["gain.high"]
    assert (finished.out / "report.html").stat().st_size > 1000
    assert metrics["prompts.shots_from_selection"] == 3
    page = (finished.out / "report.html").read_text()
    assert '<td class="left">1, selection</td><td class="left">find</td>' in page
    assert read_prompts(finished.out / "prompts.yaml")["rerank"].shots == (Shot("a", "b"),)
    assert len(list((finished.out / "results").glob("*/*/find.json"))) == 3
    print_table(finished.out)
    assert "ndcg_at_10" in capsys.readouterr().out


@pytest.mark.slow
def test_mteb_reads_our_results_with_the_models_that_made_them(finished: Finished) -> None:
    loaded = mteb.ResultCache(finished.out).load_results()
    assert {model.model_name.split("/")[1] for model in loaded.model_results} == {"base", "trained", "teacher"}
    assert {len(model.task_results) for model in loaded.model_results} == {len(KINDS)}


@pytest.mark.slow
def test_only_the_trained_student_gets_shots(root: Path) -> None:
    run = context(root, "run")
    benchmark = evaluate.load_benchmark(run.config.evaluate, run.outputs / "prepare" / "benchmark")
    prompts = evaluate.read_prompt_table(benchmark, run)
    models = {name: evaluate._model(name, evaluate._source(name, run), prompts, run) for name in evaluate.MODELS}
    for task in ("find", "rerank"):  # one of the training task's own name, and one that it serves
        shots = {name: model.prompts[task].shots for name, model in models.items()}
        assert shots == {"base": (), "trained": (Shot("a", "b"),), "teacher": ()}
        assert {model.prompts[task].instruction for model in models.values()} == {"Trained find"}
    assert not models["trained"].prompts["sort"].shots


def test_stated_shots_that_do_not_fit_the_prompt_are_refused_before_any_model(root: Path, tiny_student: Path) -> None:
    run = context(root, "run")
    (root / "outputs" / "fetch" / "models").mkdir(parents=True)
    (root / "outputs" / "fetch" / "models" / "student").symlink_to(tiny_student)
    shots = {"sort": [ShotParams(query=f"{n} {'word ' * 90}", response="x" * 90) for n in range(9)]}
    config = run.config.model_copy(update={"evaluate": run.config.evaluate.model_copy(update={"shots": shots})})
    with pytest.raises(UserError, match=r"evaluate\.shots\.sort: prompt: 9 shots make a prefix of \d+ tokens"):
        evaluate.run(replace(run, config=config))


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_table_is_plain_json(finished: Finished) -> None:
    table = json.loads((finished.out / "table.json").read_text())
    assert set(table) == {"rows", "mean", "gain", "prompts"}
    assert table["prompts"]["counts"] == {
        "tasks": 7,
        "served_by_a_training_task": 3,
        "shots_from_selection": 3,
        "shots_stated": 0,
        "zero_shot": 4,
        "instruction_seen_in_training": 3,
    }
    assert {row["category"] for row in table["rows"]} == {
        "Retrieval",
        "Reranking",
        "Classification",
        "Clustering",
        "PairClassification",
        "STS",
        "Summarization",
    }
