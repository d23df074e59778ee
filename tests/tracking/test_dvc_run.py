"""One run above the stages of a dvc repro: opened once, closed when dvc has ended for any reason."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from components.base import owner
from components.base.owner import describe_owner
from components.tracking import dvc_run, lockfile, upload
from components.tracking.dvc_run import close_dvc_run, dvc_pipeline, note_end, note_stage
from components.tracking.journal import Journal, RunStart, append_events
from components.tracking.journal_files import all_events, first_event, journals
from components.tracking.store import EXPERIMENT, connect, tracking_folder
from components.tracking.uploader import Uploader
from flows import at_work
from tests.command import foundry
from tests.samples import ROOT

LOCK = {
    "schema": "2.0",
    "stages": {
        name: {"cmd": name, "deps": deps, "outs": [{"path": f"outputs/{name}", "md5": f"{name}.dir"}]}
        for name, deps in (("fetch", []), ("prepare", [{"path": "outputs/fetch", "md5": "fetch.dir"}]))
    },
}


@pytest.fixture
def root(tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with the starter's parameters, outside git, whose dvc.lock has fetch and prepare."""
    root = tmp_path / "checkout"
    root.mkdir()
    shutil.copyfile(ROOT / "params.yaml", root / "params.yaml")
    shutil.copytree(ROOT / "recipes", root / "recipes")
    (root / "dvc.lock").write_text(yaml.safe_dump(LOCK))
    stages = {"fetch": {"outs": ["outputs/fetch"]}, "prepare": {"deps": ["outputs/fetch"], "outs": ["outputs/prepare"]}}
    (root / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    for name, rows in (("fetch", 7), ("prepare", 5)):
        (root / "outputs" / name).mkdir(parents=True)
        (root / "outputs" / name / "metrics.json").write_text(json.dumps({"rows": rows}))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{store}")
    return root


def start_stand_in(command: list[str]) -> subprocess.Popen[bytes]:
    """Start a process and wait for its command line: the kernel shows none for a moment after exec."""
    process = subprocess.Popen(command)
    while not psutil.Process(process.pid).cmdline():
        time.sleep(0.01)
    return process


@pytest.fixture
def dvc(monkeypatch: pytest.MonkeyPatch) -> Iterator[subprocess.Popen[bytes]]:
    """A process that stands in for dvc: every stage of this test is its child."""
    command = [sys.executable, "-c", "import time; time.sleep(60)", "dvc", "repro", "prepare"]
    process = start_stand_in(command)
    monkeypatch.setattr(dvc_run, "find_dvc", lambda: psutil.Process(process.pid))
    yield process
    process.kill()
    process.wait()


def run_stage(root: Path, name: str, status: str = "FINISHED") -> str:
    """What a stage does with its pipeline's run; returns the run's journal."""
    parent = dvc_pipeline(root)
    start = RunStart(dvc_run.pipeline_start(root, "").store, EXPERIMENT, name, parent, tags={"dvc.stage": name})
    journal = Journal.open(tracking_folder(root), start)
    note_stage(root, parent, name, "RUNNING", owner=describe_owner(root))
    journal.tags({"dvc.out.md5": f"{name}.dir"})
    result = {"metrics": {"rows": 7.0 if name == "fetch" else 5.0}, "md5": f"{name}.dir"}
    note_end(root, parent, name, status, result if status == "FINISHED" else {})
    journal.end(status)
    return parent.removeprefix("journal:")


def end(dvc: subprocess.Popen[bytes]) -> None:
    dvc.kill()
    dvc.wait()


def runs(name: str) -> list[Any]:
    client = connect(os.environ["MLFLOW_TRACKING_URI"])
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    return [run for run in client.search_runs([experiment.experiment_id]) if run.info.run_name == name]


@pytest.mark.slow
def test_stages_of_one_dvc_share_a_run_with_their_metrics(root: Path, dvc: subprocess.Popen[bytes]) -> None:
    identity = run_stage(root, "fetch")
    assert upload.upload_all(root) == 0
    assert [run.info.status for run in runs("starter")] == ["RUNNING"], "dvc is at work"
    assert run_stage(root, "prepare") == identity
    end(dvc)
    assert upload.upload_all(root) == 0
    assert journals(tracking_folder(root)) == []
    [top] = runs("starter")
    assert top.info.status == "FINISHED"
    assert top.data.metrics == {"fetch/rows": 7.0, "prepare/rows": 5.0}
    assert top.data.tags["recipe"] == "starter"
    assert "fiqa" in top.data.tags["data"]
    assert top.data.tags["mlflow.source.name"] == "dvc repro prepare"
    assert top.data.tags["mlflow.user"]
    assert top.inputs.dataset_inputs[0].dataset.digest == "prepare.dir"
    experiment = connect(os.environ["MLFLOW_TRACKING_URI"]).get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    assert "mlflow.sharedViewState.pipelines" in experiment.tags, "the view comes with the first pipeline"
    children = {run.data.tags["mlflow.parentRunId"] for name in ("fetch", "prepare") for run in runs(name)}
    assert children == {top.info.run_id}


@pytest.mark.slow
def test_a_reused_stage_belongs_to_the_run_too(root: Path, dvc: subprocess.Popen[bytes]) -> None:
    run_stage(root, "fetch")
    end(dvc)
    assert upload.upload_all(root) == 0
    [made] = runs("fetch")
    again = start_stand_in([*dvc.args])  # type: ignore[misc]
    try:
        dvc_run.find_dvc = lambda: psutil.Process(again.pid)  # type: ignore[assignment]  # undone by the fixture
        run_stage(root, "prepare")
    finally:
        end(again)
    assert upload.upload_all(root) == 0
    newest = max(runs("starter"), key=lambda run: run.info.start_time)
    assert len(runs("starter")) == 2
    assert newest.data.metrics == {"fetch/rows": 7.0, "prepare/rows": 5.0}
    assert newest.data.tags["reused.fetch"] == made.info.run_id
    assert f"runs/{made.info.run_id}" in newest.data.tags["mlflow.note.content"]


@pytest.mark.slow
def test_the_last_stage_ends_the_run_with_its_own_upload(root: Path, dvc: subprocess.Popen[bytes]) -> None:
    """Nothing is uploaded after dvc in a container whose command it is."""
    identity = run_stage(root, "fetch")
    tracking = tracking_folder(root)
    run_stage(root, "prepare")
    [stage] = [folder for folder in journals(tracking) if first_event(folder)["name"] == "prepare"]
    Uploader(tracking).send(stage, dead=False)
    [top] = runs("starter")
    assert top.info.status == "FINISHED"
    assert top.data.metrics == {"fetch/rows": 7.0, "prepare/rows": 5.0}
    assert "prepare" in top.data.tags["mlflow.note.content"]
    assert (tracking / identity).exists(), "dvc may go on"

    note_stage(root, f"journal:{identity}", "prepare", "RUNNING", owner=describe_owner(root))
    assert upload.upload_all(root) == 0
    assert [run.info.status for run in runs("starter")] == ["RUNNING"], "dvc goes on"


@pytest.mark.slow
def test_a_stage_that_fails_ends_the_run_too(root: Path, dvc: subprocess.Popen[bytes]) -> None:
    run_stage(root, "fetch", "FAILED")
    assert upload.upload_all(root) == 0
    assert [run.info.status for run in runs("starter")] == ["FAILED"]


@pytest.mark.slow
def test_a_run_of_a_container_that_is_gone_is_ended_when_its_user_says_so(
    root: Path, dvc: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From another PID namespace no dvc can be seen, and it holds no lock; a flow does."""
    run_stage(root, "fetch")
    flow = Journal.open(tracking_folder(root), RunStart(os.environ["MLFLOW_TRACKING_URI"], EXPERIMENT, "flow"))
    monkeypatch.setattr(owner, "_proc_is_ours", lambda: False)
    assert upload.upload_all(root) == 0
    assert "starter: its process cannot be seen from here; if it is dead" in capsys.readouterr().out
    assert {run.info.status for name in ("starter", "flow") for run in runs(name)} == {"RUNNING"}
    monkeypatch.chdir(root)
    with at_work.stage_at_work(root):
        assert foundry("upload", "--unseen") == 1
    assert "a run or stage is at work in" in capsys.readouterr().err
    assert foundry("upload", "--unseen") == 0
    assert [run.info.status for run in runs("starter")] == ["FINISHED"], "all it began ended well"
    assert [run.info.status for run in runs("flow")] == ["RUNNING"], "its lock is held, so it lives"
    flow.close()


@pytest.mark.parametrize(
    ("second", "status"), [("FAILED", "FAILED"), ("RUNNING", "KILLED"), ("unrecorded", "KILLED"), ("", "FINISHED")]
)
def test_how_a_run_ended(root: Path, dvc: subprocess.Popen[bytes], second: str, status: str) -> None:
    identity = run_stage(root, "fetch")
    if second == "FAILED":
        run_stage(root, "prepare", "FAILED")
    elif second:
        state = "RUNNING" if second == "RUNNING" else "FINISHED"
        gone = {**describe_owner(root), "pid": 4_000_000}
        note_stage(root, f"journal:{identity}", "prepare", state, owner=gone, md5="not in dvc.lock", metrics={})
    end(dvc)
    close_dvc_run(tracking_folder(root) / identity)
    closing = [event for event in all_events(tracking_folder(root) / identity) if event["kind"] == "tags"]
    assert closing[-1]["values"] == ({"stage.prepare": "KILLED"} if second == "RUNNING" else {})
    assert all_events(tracking_folder(root) / identity)[-1]["status"] == status


@pytest.mark.slow
@pytest.mark.parametrize("killed", [True, False])
def test_the_upload_process_stays_longer_after_a_killed_dvc(
    root: Path, dvc: subprocess.Popen[bytes], killed: bool
) -> None:
    identity = run_stage(root, "fetch")
    if killed:
        gone = {**describe_owner(root), "pid": 4_000_000}
        note_stage(root, f"journal:{identity}", "prepare", "RUNNING", owner=gone, md5="", metrics={})
    end(dvc)
    uploader = Uploader(tracking_folder(root))
    while any(journals(tracking_folder(root))):
        uploader.round()
    assert (uploader.killed_at > 0) == killed


@pytest.mark.slow
def test_what_a_killed_dvc_left_half_written_is_repaired_by_the_upload(
    root: Path, dvc: subprocess.Popen[bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    run_stage(root, "fetch")
    lockfile.rwlock(root).parent.mkdir(parents=True)
    lockfile.rwlock(root).write_bytes(b"")
    assert upload.upload_all(root) == 0
    assert lockfile.rwlock(root).exists()  # of a dvc that lives
    end(dvc)
    assert upload.upload_all(root) == 0
    assert not lockfile.rwlock(root).exists()
    assert "left invalid by a killed dvc: removed it" in capsys.readouterr().out


@pytest.mark.slow
def test_a_kill_while_it_is_closed_leaves_one_run_and_one_point_a_metric(
    root: Path, dvc: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_stage(root, "prepare")
    end(dvc)
    with monkeypatch.context() as patch:
        killed = "components.tracking.uploader.note_state"
        patch.setattr(killed, lambda folder, **values: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            upload.upload_all(root)
    assert upload.upload_all(root) == 0
    [top] = runs("starter")
    history = connect(os.environ["MLFLOW_TRACKING_URI"]).get_metric_history(top.info.run_id, "fetch/rows")
    assert len(history) == 1


def test_a_line_that_was_cut_is_no_event_and_harms_no_later_one(tmp_path: Path) -> None:
    journal = Journal.open(tracking_folder(tmp_path), RunStart("sqlite:///none", EXPERIMENT, "pipeline"))
    journal.close()
    with (journal.folder / "events.jsonl").open("a") as handle:
        handle.write('{"kind": "sta')
    append_events(journal.folder, [{"kind": "tags", "values": {"a": "b"}}])
    assert [event["kind"] for event in all_events(journal.folder)] == ["start", "tags"]
