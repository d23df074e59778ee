"""Fixtures: a small checkout with a trained (random, tiny) model, ready for the register stage; MLflow's stores."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from components.config import Config, load_config
from components.contracts.shots import EvaluatedPrompt, TaskPrompt, write_prompts
from components.contracts.tasks import Task, write_tasks
from tests.models import make_tiny_student
from tests.samples import ROOT
from tests.tracking.stores import write_evaluation

TASKS = [
    Task("boolq", "retrieval", "Given a question, retrieve a passage that answers it", False, 1.0, "cc0", "boolq"),
    Task("sts", "sts", "Retrieve a sentence that says the same", True, 1.0, "cc0", "sts"),
]


def make_repository(root: Path) -> None:
    """git and DVC in a folder, and a first commit of its files."""
    for command in (
        ["git", "init", "-q", "-b", "main"],
        [sys.executable, "-m", "dvc", "init", "-q"],
        ["git", "config", "user.name", "t"],
        ["git", "config", "user.email", "t@localhost"],
        ["git", "add", "-A"],
        ["git", "commit", "-qm", "start"],
    ):
        subprocess.run(command, cwd=root, check=True)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout whose stages up to select_shots have run: git, dvc.yaml, params.yaml, outputs/. Do not write to it."""
    root = tmp_path_factory.mktemp("trained")
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copyfile(ROOT / name, root / name)
    (root / "components").symlink_to(ROOT / "components")
    (root / ".gitignore").write_text("/outputs/\n/.cache/\n/mlflow.db*\n/mlartifacts/\n")
    _write_outputs(root, load_config(root / "params.yaml"))
    (root / "dvc.lock").write_text(yaml.safe_dump(_lock(root)))
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@t"]
    subprocess.run([*git, "init", "-q", "-b", "main"], cwd=root, check=True)
    subprocess.run([*git, "add", "-A"], cwd=root, check=True)
    subprocess.run([*git, "commit", "-qm", "start"], cwd=root, check=True)
    return root


@pytest.fixture
def checkout(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of `trained` for one test, with its own MLflow store."""
    root = tmp_path / "checkout"
    shutil.copytree(trained, root, symlinks=True, copy_function=os.link)
    shutil.rmtree(root / ".git")
    shutil.copytree(trained / ".git", root / ".git")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    return root


@pytest.fixture
def store(empty_store: Path, tmp_path: Path) -> Path:
    """An MLflow sqlite file for one test."""
    return Path(shutil.copyfile(empty_store, tmp_path / "mlflow.db"))


@pytest.fixture
def no_upload(monkeypatch: pytest.MonkeyPatch) -> None:
    """Journals stay on disk: no uploading process beside the test."""
    monkeypatch.setattr("components.tracking.upload.start_uploader", lambda root: None)
    monkeypatch.setattr("components.tracking.upload.wait_until_uploaded", lambda journal: True)


def _write_outputs(root: Path, config: Config) -> None:
    import torch

    from components.model.backbone import load_tokenizer
    from components.model.export import export_model
    from components.training.train import add_adapter, save_adapter

    outputs = root / "outputs"
    student = make_tiny_student(outputs / "fetch" / "models" / "student")
    for folder in ("prepare/benchmark", "select_shots", "evaluate", "train"):
        (outputs / folder).mkdir(parents=True)
    write_tasks(TASKS[:1], outputs / "prepare" / "tasks.yaml")
    write_tasks(TASKS, outputs / "prepare" / "benchmark" / "tasks.yaml")
    examples = [
        {"query": "is water wet", "response": "Water is wet."},
        {"query": "is ice hot", "response": "It is not."},
    ]
    shots = {"boolq": {"number": 1, "instruction": TASKS[0].instruction, "serves": [], "examples": examples}}
    (outputs / "select_shots" / "shots.yaml").write_text(yaml.safe_dump(shots))
    own = [EvaluatedPrompt(TaskPrompt(task.instruction, task.symmetric), None, "none", False) for task in TASKS[1:]]
    write_prompts({task.name: one for task, one in zip(TASKS[1:], own, strict=True)}, outputs / "evaluate/prompts.yaml")
    write_evaluation(outputs / "evaluate", quality=0.7, seed=0)
    (outputs / "evaluate" / "metrics.json").write_text('{"trained.mean": 0.7, "base.mean": 0.4}')
    (outputs / "train" / "metrics.json").write_text('{"train.steps": 3.0}')
    model = add_adapter(student, load_tokenizer(student, config.prompt), config)
    for parameter in model.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.02)
    save_adapter(model, outputs / "train" / "adapter")
    export_model(student, outputs / "train" / "adapter", outputs / "train" / "export", config, TASKS[:1])


def _lock(root: Path) -> dict[str, object]:
    from components.tracking.versions import declared_names, dvc_md5

    stages = {}
    for stage in ("fetch", "prepare", "train", "select_shots", "evaluate"):
        made = [d for d in declared_names(root, stage, "deps") if d.startswith("outputs/") and (root / d).exists()]
        stages[stage] = {
            "deps": [{"path": path, "md5": dvc_md5(root / path)} for path in made],
            "outs": [{"path": f"outputs/{stage}", "md5": dvc_md5(root / "outputs" / stage)}],
        }
    return {"schema": "2.0", "stages": stages}
