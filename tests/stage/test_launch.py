"""Several processes by one parameter: a killed one brings all back from the last checkpoint, to the same adapter."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from components.base.hashing import content_hash
from tests.conftest import make_tiny_student
from tests.samples import ROOT, small_parameters, write_training_tables


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Inputs of the train stage; do not write to it."""
    outputs = tmp_path_factory.mktemp("launch") / "outputs"
    write_training_tables(outputs)
    make_tiny_student(outputs / "fetch" / "models" / "student")
    (outputs / "retrieve").mkdir()
    return outputs


def checkout(template: Path, root: Path, **changes: Any) -> Path:
    root.mkdir()
    for name in ("components", "flows"):
        (root / name).symlink_to(ROOT / name)
    (root / "dvc.yaml").write_text((ROOT / "dvc.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    (root / "params.yaml").write_text(yaml.safe_dump(small_parameters(**changes)), encoding="utf-8")
    (root / "outputs").mkdir()
    for folder in template.iterdir():
        (root / "outputs" / folder.name).symlink_to(folder)
    return root


def start(root: Path) -> "subprocess.Popen[bytes]":
    """The train stage; MLflow is away, so its run stays on disk for us to read."""
    env = {**os.environ, "MLFLOW_TRACKING_URI": "http://127.0.0.1:9", "PYTHONPATH": str(root)}
    with (root / "said.log").open("wb") as said:
        command = [sys.executable, "-m", "flows.cli", "stage", "train"]
        return subprocess.Popen(command, cwd=root, env=env, stdout=said, stderr=said)


def finished(root: Path, run: "subprocess.Popen[bytes]") -> str:
    """What a run said, once it has ended well."""
    assert run.wait(120) == 0, (root / "said.log").read_text()[-3000:]
    return (root / "said.log").read_text()


def process_of_rank(run: "subprocess.Popen[bytes]", rank: int) -> psutil.Process:
    for process in psutil.Process(run.pid).children(recursive=True):
        if process.environ().get("RANK") == str(rank):
            return process
    raise AssertionError(f"no process of rank {rank}")


def journals(root: Path) -> list[Path]:
    return sorted((root / ".cache" / "tracking").glob("[0-9]*"))


def test_a_killed_process_changes_no_bit_and_one_run_is_opened(template: Path, tmp_path: Path) -> None:
    steps = 24
    train = {"train.processes": 2, "train.steps": steps, "train.checkpoint_every": 2}
    calm, struck = (checkout(template, tmp_path / name, **train) for name in ("calm", "struck"))
    runs = start(calm), start(struck)
    deadline = time.monotonic() + 200
    while not list((struck / ".cache" / "work").glob("train-*/checkpoints/step-*2")):
        assert time.monotonic() < deadline
        assert runs[1].poll() is None, (struck / "said.log").read_text()[-3000:]
        time.sleep(0.01)
    process_of_rank(runs[1], 1).kill()
    assert "start 2, from the last checkpoint" in finished(struck, runs[1])
    assert "start 2" not in finished(calm, runs[0])
    assert content_hash(calm / "outputs" / "train") == content_hash(struck / "outputs" / "train")
    for root in (calm, struck):
        (journal,) = journals(root)
        events = [json.loads(line) for line in (journal / "events.jsonl").read_text().splitlines()]
        logged = {event["step"] for event in events if "train/loss" in event.get("values", {})}
        assert logged == set(range(steps))
        assert events[-1] == {**events[-1], "kind": "end", "status": "FINISHED"}
    assert not list((struck / ".cache" / "work").glob("train*")), "scratch is gone at the end"


def test_refused_input_is_one_line_and_not_tried_again(template: Path, tmp_path: Path) -> None:
    root = checkout(template, tmp_path / "refused", **{"train.processes": 2, "train.learning_rate": 1e30})
    run = start(root)
    assert run.wait(200) == 1
    said = (root / "said.log").read_text()
    assert "error: train: train: step" in said
    assert "start 2" not in said
    assert "Traceback" not in said
    assert not (root / "outputs" / "train").exists()
