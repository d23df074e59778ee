"""Commands about recipes, and `run` with one."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from components.config import load_config
from components.plan.hub import HubReport
from flows.cli import pipeline
from tests.command import foundry
from tests.samples import ROOT


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with every recipe, whose parameters are the starter's."""
    shutil.copytree(ROOT / "recipes", tmp_path / "recipes")
    shutil.copyfile(ROOT / "params.yaml", tmp_path / "params.yaml")
    (tmp_path / "dvc.yaml").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The stages that dvc was asked for, a list a call; nothing runs."""
    calls: list[list[str]] = []
    monkeypatch.setattr(pipeline, "_run_dvc", lambda root, stages: calls.append(stages) or 0)
    return calls


def test_a_recipe_is_copied_edited_validated_and_shown(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert foundry("recipes", "copy", "starter", "recipes/mine.yaml") == 0
    with (checkout / "recipes" / "mine.yaml").open("a") as mine:
        mine.write("train: {steps: 7}\n")
    assert foundry("recipes", "validate", "mine", "params.yaml") == 0
    assert capsys.readouterr().out.endswith("recipes/mine.yaml: valid\nparams.yaml: valid\n")
    assert foundry("recipes", "show", "mine", "--set", "train.warmup_steps=3") == 0
    (checkout / "shown.yaml").write_text(capsys.readouterr().out)
    train = load_config(checkout / "shown.yaml").train
    assert (train.steps, train.warmup_steps) == (7, 3)
    assert foundry("recipes", "list") == 0
    assert "\nmine " in "\n" + capsys.readouterr().out


def test_validate_names_every_error_of_every_file(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, wrong in (("one", "trian: {}\nmine: {margni: 1}\n"), ("two", "train: {steps: many}\n")):
        (checkout / "recipes" / f"{name}.yaml").write_text(f"extends: starter\n{wrong}")
    assert foundry("recipes", "validate") == 1
    said = capsys.readouterr()
    assert [line.split(": ")[2] for line in said.err.splitlines()] == ["mine.margni", "trian", "train.steps"]
    assert "recipes/starter.yaml: valid" in said.out


def test_run_takes_a_recipe_with_values_on_top(checkout: Path, ran: list[list[str]]) -> None:
    changes = ("--set", "train.steps=50", "--set", "mine.margin=0.9")
    assert foundry("run", "prepare", "train", "--recipe", "starter", *changes) == 0
    config = load_config(checkout / "params.yaml")
    assert (config.train.steps, config.mine.margin) == (50, 0.9)
    assert ran == [["prepare", "train"]]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--recipe", "nothing"], "nothing"),
        (["--recipe", "starter", "--set", "train.stepz=5"], "train.stepz"),
        (["--recipe", "starter", "--set", "train.steps=many"], "train.steps"),
        (["--recipe", "starter", "--set", "train.steps"], "must be KEY=VALUE"),
        (["--set", "train.steps=5"], "--set needs --recipe NAME"),
    ],
)
def test_a_wrong_recipe_or_value_is_one_line_and_nothing_runs(
    checkout: Path, ran: list[list[str]], capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    before = (checkout / "params.yaml").read_bytes()
    assert foundry("run", *arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert said in error
    assert error.count("\n") == 1
    assert (checkout / "params.yaml").read_bytes() == before
    assert ran == []


def test_a_recipe_that_does_not_fit_is_planned_and_not_run(
    checkout: Path, ran: list[list[str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = HubReport("", ["fetch.models.student.origin: gone"])
    monkeypatch.setattr("components.plan.report.check_hub", lambda config: gone)
    assert foundry("run", "--recipe", "mistral-7b") == 1
    said = capsys.readouterr()
    assert "| train |" in said.out
    assert "error: plan: fetch.models.student.origin: gone\n" in said.err
    assert ran == []


@pytest.mark.slow
@pytest.mark.usefixtures("warm_commands")
def test_run_brings_stages_up_to_date_and_passes_dvc_s_status_on(toy: Path) -> None:
    assert foundry("run", "left") == 0
    assert (toy / "outputs" / "left" / "out.txt").read_text().startswith("left(source(hello)")
    assert not (toy / "outputs" / "right").exists()
    (toy / "input.txt").write_text("boom\n")
    assert foundry("run", "left") == 255


def test_the_plan_of_a_recipe(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert foundry("plan", "--recipe", "starter", "--gpu", "H100", "--gpus", "2") == 0
    assert "starter.yaml on 2 x H100" in capsys.readouterr().out
    assert foundry("plan", "--gpu", "X1") == 1
    assert capsys.readouterr().err.startswith("error: plan: --gpu X1: unknown")


def test_make_passes_recipe_values_and_ports_on() -> None:
    def would_run(*arguments: str) -> str:
        command = ["make", "--dry-run", "--old-file=.venv/.run", *arguments]
        own = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS"))}  # `make test`
        return subprocess.run(command, cwd=ROOT, env=own, capture_output=True, text=True, check=True).stdout.strip()

    assert would_run("run") == "foundry run"
    assert would_run("run", "RECIPE=starter", "SET=train.steps=50 mine.margin=0.9") == (
        "foundry run --recipe starter --set 'train.steps=50' --set 'mine.margin=0.9'"
    )
    assert would_run("ui", "MLFLOW_PORT=5001", "PREFECT_PORT=4201") == (
        "foundry ui --mlflow-port 5001 --prefect-port 4201"
    )
