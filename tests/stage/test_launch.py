"""Several processes by one parameter: a killed one brings all back from the last checkpoint, to the same adapter."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from components.base.daemon import free_port
from components.base.errors import UserError
from components.base.hashing import content_hash
from components.config import load_config
from components.stage import launch
from components.stage.context import StageContext
from tests.models import make_tiny_student
from tests.samples import ROOT, small_parameters, write_training_tables
from tests.warm import meet_as_under_torchrun, meeting_store, start_warm
from tests.warm_python import warm_python


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


def start(root: Path, command: str = "stage") -> "subprocess.Popen[bytes]":
    """The train stage, or another machine that joins it; MLflow is away, so its run stays on disk for us to read."""
    env = {**os.environ, "MLFLOW_TRACKING_URI": "http://127.0.0.1:9", "PYTHONPATH": str(root)}
    with (root / f"{command}.log").open("wb") as said:
        arguments = [warm_python() / "foundry", command, "train"]
        return subprocess.Popen(arguments, cwd=root, env=env, stdout=said, stderr=said)


def train_undisturbed(root: Path, rank: int, store_port: int) -> None:
    """One of two processes, as torchrun starts them; leaves `root/out` and `root/work`."""
    meet_as_under_torchrun(rank, store_port)
    os.chdir(root)
    sys.exit(launch.main(["train", str(root / "out"), str(root / "work")]))


def finished(root: Path, run: "subprocess.Popen[bytes]") -> str:
    """What a run said, once it has ended well."""
    assert run.wait(120) == 0, (root / "stage.log").read_text()[-3000:]
    return (root / "stage.log").read_text()


def processes_of_rank(root: Path, rank: int) -> list[psutil.Process]:
    """What torchrun started with this rank for a stage of `root`: they are not below the stage's own process."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):  # it has ended
            is_ours = process.cwd() == str(root) and process.environ().get("RANK") == str(rank)
            found += [process] if is_ours else []
    return found


def wait_for(find: Callable[[], list[Any]], run: "subprocess.Popen[bytes]", root: Path) -> list[Any]:
    """What `find` finds, once it finds something; the run must still be going on."""
    deadline = time.monotonic() + 200
    while not (found := find()):
        assert time.monotonic() < deadline
        assert run.poll() is None, (root / "stage.log").read_text()[-3000:]
        time.sleep(0.05)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("machines", [1, 2])
def test_a_killed_process_changes_no_bit_and_one_run_is_opened(template: Path, tmp_path: Path, machines: int) -> None:
    """Two processes, of this machine or of two that meet on the loopback address."""
    steps = 24
    train = {"train.processes": 2 // machines, "train.steps": steps, "train.checkpoint_every": 2}
    if machines == 2:
        train |= {"train.nodes": 2, "train.rendezvous": f"127.0.0.1:{free_port()}"}
    calm, struck = (checkout(template, tmp_path / name, **train) for name in ("calm", "struck"))
    for folder in (calm / "out", calm / "work" / "exchange"):
        folder.mkdir(parents=True)
    store = meeting_store()
    undisturbed = [start_warm(train_undisturbed, calm, rank, store.port) for rank in range(2)]
    other = start(struck, "join") if machines == 2 else None
    run = start(struck)
    (victim,) = wait_for(lambda: processes_of_rank(struck, 1), run, struck)
    wait_for(lambda: list((struck / ".cache" / "work").glob("train-*/checkpoints/step-*")), run, struck)
    victim.kill()
    said = finished(struck, run)
    if other is not None:
        assert other.wait(60) == 0, (struck / "join.log").read_text()[-3000:]
        assert "train has ended" in (struck / "join.log").read_text()
        assert not (struck / ".cache" / "work" / "train.start.json").exists()
    assert "start 2, from the last checkpoint" in said
    assert "start 3" not in said
    for process in undisturbed:
        process.join(200)
        assert process.exitcode == 0
    (calm / "work" / "exchange" / launch.METRICS).rename(calm / "out" / "metrics.json")  # the stage's own process does
    for root in (calm / "out", struck / "outputs" / "train"):
        metrics = json.loads((root / "metrics.json").read_text())
        (root / "metrics.json").write_text(json.dumps(metrics, sort_keys=True))
    assert content_hash(calm / "out") == content_hash(struck / "outputs" / "train")
    (journal,) = sorted((struck / ".cache" / "tracking").glob("[0-9]*"))
    events = [json.loads(line) for line in (journal / "events.jsonl").read_text().splitlines()]
    logged = {event["step"] for event in events if "train/loss" in event.get("values", {})}
    assert logged == set(range(steps))
    assert events[-1] == {**events[-1], "kind": "end", "status": "FINISHED"}
    assert not list((struck / ".cache" / "work").glob("train*")), "scratch is gone at the end"


@pytest.mark.slow
@pytest.mark.usefixtures("warm_start")
def test_refused_input_is_one_line_and_not_tried_again(
    template: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    root = checkout(template, tmp_path / "refused")
    config = load_config(root / "params.yaml")
    context = StageContext(config, root / "outputs", root / "out", root / "work", root / ".cache", print)
    for folder in (context.out, context.work):
        folder.mkdir()
    with pytest.raises(UserError, match=r"teacher_scores\.parquet"):
        launch.launch("mine", context, processes=2, restarts=1)
    said = capfd.readouterr().err
    assert "start 2" not in said
    assert "Traceback" not in said


def test_how_processes_ended_is_one_line(tmp_path: Path) -> None:
    assert launch._ended(tmp_path) == "a process died"
    (tmp_path / "lost-3.txt").write_text("NCCL error: remote process exited")
    assert launch._ended(tmp_path).startswith(
        "process 3 could not reach the others (NCCL error: remote process exited);"
    )
    (tmp_path / "hung-1.txt").write_text("")  # armed and not needed
    assert "process 3" in launch._ended(tmp_path)
    frame = 'File "/x/components/training/world.py", line 57 in sum_'
    (tmp_path / "hung-1.txt").write_text(f"Timeout!\nThread 0x1 (most recent call first):\n  {frame}\n")
    stood = "process 1 made no progress within train.hang_seconds, at components/training/world.py:57 in sum_"
    assert launch._ended(tmp_path) == stood
