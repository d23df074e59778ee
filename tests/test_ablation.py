"""The ablation: stages are shared by what they were made from, runs survive a kill, figures say what helps."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from benchmarks import ablation, variant_runs
from benchmarks.ablation_figures import HEADLINES, figures_of
from benchmarks.stage_store import Kept, StageStore
from benchmarks.variant_runs import Result, Runs, Variant
from components.base.errors import UserError
from components.config import read_parameters
from components.config.load import parse_config
from components.config.overrides import apply_overrides
from tests.models import make_tiny_student
from tests.samples import ROOT, small_parameters, write_training_tables

DECIDES = {"mine": ("mine",), "train": ("train", "seed"), "select_shots": ("select_shots",)}
ORDER = ["local_files", "fetch", "prepare", "retrieve", "score", "mine", "train", "select_shots"]


class Stages:
    """In place of a stage's process: its output has the parameters that decide it; `ran` lists the calls."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.fails = ""

    def start(self, folder: Path, stage: str, parent: str) -> "subprocess.Popen[bytes]":
        self.ran.append(stage)
        out = folder / "outputs" / stage
        assert not out.exists(), "a kept output must not be written to"
        raw = yaml.safe_load((folder / "params.yaml").read_text())
        (out / "export").mkdir(parents=True)
        (out / "text").write_text(json.dumps({key: raw[key] for key in DECIDES.get(stage, ())}))
        return subprocess.Popen([sys.executable, "-SEc", f"raise SystemExit({int(stage == self.fails)})"])


@pytest.fixture
def store(tmp_path: Path) -> tuple[StageStore, Stages]:
    (tmp_path / "dvc.yaml").write_bytes((ROOT / "dvc.yaml").read_bytes())
    stages = Stages()
    return StageStore(tmp_path, stages.start), stages


@pytest.mark.slow
def test_a_change_runs_the_stages_that_it_reaches(store: tuple[StageStore, Stages]) -> None:
    kept, stages = store
    raw = small_parameters()
    first = kept.bring("select_shots", raw, {}, "")
    assert stages.ran == ORDER
    assert kept.bring("select_shots", raw, {}, "") == first
    assert stages.ran == ORDER, "all of it was kept"
    stages.ran.clear()
    kept.bring("select_shots", apply_overrides(raw, {"mine.margin": 0.5}), {}, "")
    assert stages.ran == ["mine", "train", "select_shots"]
    stages.ran.clear()
    kept.bring("select_shots", apply_overrides(raw, {"train.learning_rate": 0.5}), {}, "")
    assert stages.ran == ["train", "select_shots"]
    stages.ran.clear()
    kept.bring("select_shots", apply_overrides(raw, {"train.steps": 7}), {}, "")
    assert stages.ran == ["score", "train", "select_shots"], "score wrote the same bytes, so mine is kept"
    stages.ran.clear()
    kept.bring("select_shots", raw, {"train": 7, "select_shots": 7}, "")
    assert stages.ran == ["train", "select_shots"], "a seed of these stages only"


@pytest.mark.slow
def test_what_is_kept_has_no_export_and_stays_as_it_was(store: tuple[StageStore, Stages]) -> None:
    kept, _ = store
    first = kept.bring("train", small_parameters(), {}, "")["train"]
    assert not (first.folder / "export").exists()
    kept.bring("train", apply_overrides(small_parameters(), {"train.learning_rate": 0.5}), {}, "")
    assert json.loads((first.folder / "text").read_text())["train"]["learning_rate"] == 0.01
    assert json.loads((kept.folder / "outputs/train/text").read_text())["train"]["learning_rate"] == 0.5


def test_a_failed_stage_is_not_kept(store: tuple[StageStore, Stages]) -> None:
    kept, stages = store
    stages.fails = "mine"
    with pytest.raises(SystemExit):
        kept.bring("train", small_parameters(), {}, "")
    stages.fails = ""
    stages.ran.clear()
    kept.bring("train", small_parameters(), {}, "")
    assert stages.ran == ["mine", "train"]


def test_every_variant_is_a_valid_recipe_with_an_effect() -> None:
    always, variants = ablation.read_variants(ablation.FILE)
    base = apply_overrides(read_parameters(ROOT / "recipes" / "bench.yaml"), always)
    going_on = variant_runs.changes_from(Path("adapter"))
    seen = set()
    for one in variants.values():
        changes = {**one.changes, **(going_on if one.start else {})}
        config = parse_config(apply_overrides(base, changes), one.name)
        seen.add((config.model_dump_json(), one.start, one.fixed_shots))
    assert len(seen) == len(variants)
    assert {name for pair in HEADLINES.values() for name in pair} <= set(variants)


def test_a_variant_that_names_none_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text("always: {}\nvariants: {a: {family: b, against: nobody}}\n")
    with pytest.raises(UserError, match=r"variants\.a: there is no variant nobody"):
        ablation.read_variants(file)
    file.write_text("always: {}\nvariants: {a: {family: b, change: {}}}\n")
    with pytest.raises(UserError, match=r"variants\.a: .*'change'"):
        ablation.read_variants(file)
    with pytest.raises(UserError, match="--only c: no such variant; there are a"):
        ablation.choose({"a": Variant("a", "b")}, ["c"])


def test_a_run_that_is_over_is_not_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[tuple[str, int]] = []

    def run(self: Runs, variant: Variant, seed: int) -> None:
        ran.append((variant.name, seed))
        place = self.place(variant, seed)
        place.mkdir(parents=True, exist_ok=True)
        if len(ran) == 2:
            raise KeyboardInterrupt
        (place / "run.json").write_text(json.dumps(vars(result(variant.name, seed))))

    monkeypatch.setattr(variant_runs, "prepare_folder", prepare_nothing)
    monkeypatch.setattr(Runs, "_run", run)
    variants = {name: Variant(name, "whole") for name in ("full", "naive")}
    with pytest.raises(KeyboardInterrupt):
        ablation.run_all(Runs(tmp_path / "x", "bench", {}, variants), list(variants.values()), 2)
    results = ablation.run_all(Runs(tmp_path / "x", "bench", {}, variants), list(variants.values()), 2)
    assert ran == [("full", 1), ("full", 2), ("full", 2), ("naive", 1), ("naive", 2)]
    assert [one.seed for one in results["naive"]] == [1, 2]
    other = Runs(tmp_path / "x", "bench", {"train.steps": 3}, variants)
    assert not other.is_over(variants["full"], 1), "other parameters"
    with pytest.raises(UserError, match="holds files of something else"):
        Runs(tmp_path, "bench", {}, variants)


def prepare_nothing(folder: Path, raw: Any) -> None:
    folder.mkdir()
    (folder / "dvc.yaml").write_bytes((ROOT / "dvc.yaml").read_bytes())
    (folder / "params.yaml").write_text("{}")


def test_a_run_is_scored_recorded_and_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stages, models and MLflow's uploader are stand-ins; parameters, journal, prompts and run.json are not."""
    monkeypatch.setattr(variant_runs, "prepare_folder", prepare_nothing)
    fixed = Variant("fixed", "shots", {"train.steps": 4}, fixed_shots=1)
    runs = Runs(tmp_path / "x", "bench", {}, {"fixed": fixed})
    outputs = runs.folder / "outputs"
    write_training_tables(outputs, pairs=48)
    make_tiny_student(outputs / "fetch" / "models" / "student")
    for stage, files in {"train": ("adapter/weights",), "select_shots": ("shots.yaml",)}.items():
        for file in files:
            (outputs / stage / file).parent.mkdir(parents=True, exist_ok=True)
            (outputs / stage / file).write_text("{}")
        (outputs / stage / "metrics.json").write_text('{"train.steps": 4}')
    given: list[Any] = []

    def bring(target: str, raw: Any, seeds: Any, parent: str) -> dict[str, Kept]:
        given.extend((raw["train"]["steps"], seeds, parent))
        return {name: Kept("", 10.0, outputs / name) for name in ("fetch", "train", "select_shots")}

    def score(name: str, source: Any, shots: Path, *rest: Any) -> dict[str, Any]:
        given.append(yaml.safe_load(shots.read_text()))
        return {"lee": np.array([0.5, 0.7])}

    monkeypatch.setattr(runs.store, "bring", bring)
    monkeypatch.setattr(variant_runs, "score_test_tasks", score)
    monkeypatch.setattr(variant_runs, "load_once", lambda source: replace(source, adapter=None).load())
    monkeypatch.setattr(variant_runs, "dev_score", lambda source, prepared: 0.25)
    monkeypatch.setattr(variant_runs, "newest_tokens_a_step", lambda uri: 100.0)
    for call in ("start_uploader", "wait_until_uploaded"):
        monkeypatch.setattr(variant_runs.upload, call, lambda folder: None)
    done = runs.result(fixed, 2)
    assert (done.dev, done.test, done.cpu_seconds, done.tokens) == (0.25, {"lee": [0.5, 0.7]}, 20.0, 400.0)
    steps, seeds, parent, shots = given
    assert (steps, seeds) == (4, {"train": 2, "select_shots": 2})
    assert {name: entry["number"] for name, entry in shots.items()} == {"words": 1, "animals": 0}, "no dev of animals"
    [journal] = [file for file in (runs.folder / ".cache" / "tracking").glob("*/events.jsonl")]
    events = [json.loads(line) for line in journal.read_text().splitlines()]
    assert parent == f"journal:{journal.parent.name}"
    assert events[0]["tags"]["variant"] == "fixed"
    assert events[0]["params"]["train.steps"] == "4"
    assert events[0]["store"] == f"sqlite:///{runs.folder / 'mlflow.db'}"
    [metrics] = [event["values"] for event in events if event["kind"] == "metrics"]
    assert metrics["evaluate/trained.mean"] == 0.6
    assert metrics["cost/cpu_seconds"] == 20
    assert events[-1]["status"] == "FINISHED"
    given.clear()
    assert runs.result(fixed, 2) == done
    assert given == [], "read from run.json"
    going_on = runs._start_from(fixed, 2)
    adapter = Path(going_on["fetch.models.start"]["origin"]["path"])
    assert (adapter / "trained_on.parquet").is_file(), "what an update takes as old"


def result(name: str, seed: int, lift: float = 0.0, spread: float = 0.05) -> Result:
    random = np.random.default_rng(seed)
    test = {task: (random.normal(0.5 + lift, spread, 40)).tolist() for task in ("a", "b")}
    return Result(name, seed, 0.4 + lift, test, 10.0, 1000.0)


@pytest.mark.slow
def test_figures_say_what_helps() -> None:
    lifts = {"full": 0.2, "naive": 0.0, "shots": 0.2, "no_margin": 0.1, "hard_labels": 0.2}
    families = {
        "full": "whole",
        "naive": "whole",
        "shots": "shots",
        "no_margin": "negatives",
        "hard_labels": "labels",
    }
    results = {name: [result(name, seed, lift) for seed in (1, 2, 3)] for name, lift in lifts.items()}
    figures = figures_of({name: Variant(name, families[name]) for name in lifts}, results)
    assert abs(figures["full_over_naive"] - 20) < 0.01
    assert 0 < figures["full_over_naive_low"] < figures["full_over_naive"] < figures["full_over_naive_high"]
    assert figures["shots"] == 0 > figures["shots_low"]
    table = figures["variants"]
    assert [table[name]["verdict"] for name in ("naive", "no_margin", "shots")] == [
        "worse",
        "worse",
        "no difference shown",
    ]
    assert not table["no_margin"]["best_on_dev"]
    assert table["naive"]["p"] <= table["naive"]["p_holm"]
    assert "difference" not in table["full"]
    json.dumps(figures)


def test_make_ablation_runs_it() -> None:
    environment = {**os.environ, "MAKEFLAGS": ""}
    said = subprocess.run(
        ["make", "-n", "ablation"], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert "python -m benchmarks.ablation --folder .cache/ablation --json .cache/ablation.json" in said.stdout
