"""Journals: nothing is lost when MLflow is away or a process dies, and nothing is sent twice."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from components.tracking import journal_files, upload
from components.tracking.journal import Journal, RunStart
from components.tracking.journal_files import journals
from components.tracking.runs import StageRun
from components.tracking.store import EXPERIMENT, connect, redact_uri, tracking_folder, with_credentials
from components.tracking.uploader import Uploader, uploaded_link

AWAY = "http://ann:secret@127.0.0.1:9"  # the discard port: nothing listens


def begin(root: Path, store: str, name: str = "train", parent: str = "") -> Journal:
    start = RunStart(store, EXPERIMENT, name, parent, {"dvc.stage": name}, {"train.steps": "3"})
    return Journal.open(tracking_folder(root), start)


def leave_journal(root: Path, store: str) -> Journal:
    """The journal of a run that logged no end: its process is dead."""
    owner = subprocess.Popen(["sleep", "60"])
    start = RunStart(store, EXPERIMENT, "starter", tags={"recipe": "starter"})
    journal = Journal.open(tracking_folder(root), start, owner.pid)
    journal.metrics({"evaluate/mean": 0.5})
    journal.close()
    owner.kill()
    owner.wait()
    return journal


def test_everything_arrives_and_the_journal_goes(store: Path, tmp_path: Path) -> None:
    uri = f"sqlite:///{store}"
    parent, child = begin(tmp_path, uri, "pipeline"), begin(tmp_path, uri, parent="")
    nested = begin(tmp_path, uri, "mine", f"journal:{parent.identity}")
    child.metrics({"loss": 0.5, "odd name!": 1.0}, 7)
    (tmp_path / "report.json").write_text("{}")
    child.artifact(tmp_path / "report.json", "tables/report.json")
    child.tags({"dvc.out.md5": "abc.dir"})
    for journal in (child, nested, parent):
        journal.end("FINISHED")
    assert upload.upload_all(tmp_path) == 0
    assert journals(tracking_folder(tmp_path)) == []

    client = connect(uri)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert runs["train"].data.metrics == {"loss": 0.5, "odd name_": 1.0}
    assert client.get_metric_history(runs["train"].info.run_id, "loss")[0].step == 7
    assert client.list_artifacts(runs["train"].info.run_id, "tables")[0].path == "tables/report.json"
    assert runs["mine"].data.tags["mlflow.parentRunId"] == runs["pipeline"].info.run_id
    assert {run.info.status for run in runs.values()} == {"FINISHED"}


@pytest.mark.slow
@pytest.mark.parametrize("how", ["all", "round"])
def test_a_pipeline_s_journal_that_went_with_its_stage_is_passed_over(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    uri = f"sqlite:///{store}"
    parent = begin(tmp_path, uri, "pipeline")
    stage = begin(tmp_path, uri, "mine", f"journal:{parent.identity}")
    for journal in (stage, parent):
        journal.end("FINISHED")
    tracking = tracking_folder(tmp_path)
    stage_first = sorted(journals(tracking), key=lambda folder: folder.name == parent.identity)
    monkeypatch.setattr(journal_files, "journals", lambda _: stage_first)
    if how == "all":
        assert upload.upload_all(tmp_path) == 0
    else:
        assert Uploader(tracking).round()
    assert not any(folder.exists() for folder in stage_first)


def test_a_kill_between_sending_and_noting_makes_no_second_run(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = f"sqlite:///{store}"
    journal = begin(tmp_path, uri)
    journal.metrics({"loss": 0.5}, 1)
    journal.end("FINISHED")
    with monkeypatch.context() as patch:
        killed = "components.tracking.uploader.note_state"
        patch.setattr(killed, lambda folder, **values: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            upload.upload_all(tmp_path)
    assert upload.upload_all(tmp_path) == 0
    client = connect(uri)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    assert len(runs) == 1
    assert len(client.get_metric_history(runs[0].info.run_id, "loss")) == 1


def test_unreachable_keeps_it_says_so_once_and_uploads_later(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    journal = begin(tmp_path, AWAY)
    journal.metrics({"loss": 0.5}, 1)
    journal.end("FINISHED")
    assert upload.upload_all(tmp_path) == 1
    assert "does not answer" in capsys.readouterr().err

    Uploader(tracking_folder(tmp_path)).round()
    for _ in range(3):
        assert not upload.wait_until_uploaded(journal.folder, patience=0)
    said = capsys.readouterr().err
    assert said.count("does not answer") == 1
    assert "foundry upload" in said
    assert "secret" not in said

    events = journal.folder / "events.jsonl"
    assert "secret" not in events.read_text()
    events.write_text(events.read_text().replace(redact_uri(AWAY), f"sqlite:///{store}"))
    assert upload.upload_all(tmp_path) == 0
    assert not journal.folder.exists()


@pytest.mark.slow
def test_a_killed_process_leaves_no_run_running(store: Path, tmp_path: Path) -> None:
    uri = f"sqlite:///{store}"
    code = (
        "import sys, time; from pathlib import Path; from tests.tracking.test_upload import begin;"
        "journal = begin(Path(sys.argv[1]), sys.argv[2]); journal.metrics({'loss': 0.25}, 1);"
        "journal._events.write('{half a li'); journal._events.flush(); print('ready', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path), uri], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert upload.upload_all(tmp_path) == 0
    client = connect(uri)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    run = client.search_runs([experiment.experiment_id])[0]
    assert (run.info.status, run.data.metrics) == ("KILLED", {"loss": 0.25})


@pytest.mark.slow
@pytest.mark.usefixtures("warm_start")
def test_following_process_starts_once_and_uploads(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = f"sqlite:///{store}"
    journal = begin(tmp_path, uri)
    upload.start_uploader(tmp_path)
    journal.end("FINISHED")
    assert upload.wait_until_uploaded(journal.folder, patience=300)
    assert "/#/experiments/" in uploaded_link(tracking_folder(tmp_path), journal.identity)
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("a second process was started"))
    upload.start_uploader(tmp_path)


@pytest.mark.slow
def test_following_ends_by_itself_once_every_run_has_ended(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload, "IDLE_SECONDS", 0.5)
    journal = begin(tmp_path, f"sqlite:///{store}")
    following = threading.Thread(target=upload.upload_until_idle, args=(tmp_path,), daemon=True)
    following.start()
    time.sleep(1)
    assert following.is_alive(), "its run has not ended"
    journal.end("FINISHED")
    following.join(120)
    assert not following.is_alive()
    assert not journal.folder.exists()
    with upload._only_one(tracking_folder(tmp_path)) as free:
        assert free


def test_a_published_page_takes_the_place_of_the_output_of_its_name(tmp_path: Path) -> None:
    out = tmp_path / "outputs" / "evaluate"
    out.mkdir(parents=True)
    for name in ("report.html", "table.json"):
        (out / name).write_text("the output")
    journal = begin(tmp_path, AWAY, "evaluate")
    run = StageRun(journal, "evaluate")
    run.publish("report.html", "the page with its times")
    run.finish({}, out)
    kept = {file.name: file.read_text() for file in (journal.folder / "files").iterdir()}
    assert kept == {"report.html": "the page with its times", "table.json": "the output"}
    assert (out / "report.html").read_text() == "the output"


def test_a_crashing_uploader_is_started_three_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    started: list[subprocess.Popen[bytes]] = []

    def crash(root: Path) -> "subprocess.Popen[bytes]":
        started.append(subprocess.Popen(["false"]))
        return started[-1]

    monkeypatch.setattr(upload, "start_uploader", crash)
    journal = begin(tmp_path, AWAY)
    assert not upload.wait_until_uploaded(journal.folder)
    assert len(started) == 3
    assert "the upload process ended 3 times; see" in capsys.readouterr().err
    assert not upload.wait_until_uploaded(begin(tmp_path, AWAY, "mine").folder)
    assert len(started) == 4, "the next stage does not try three times again"
    assert not capsys.readouterr().err


def test_uploads_are_resumed_only_for_a_run_whose_process_is_dead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Path] = []
    monkeypatch.setattr(upload, "start_uploader", started.append)
    upload.resume_uploads(tmp_path)
    begin(tmp_path, AWAY)
    upload.resume_uploads(tmp_path)
    assert not started, "its process is this one"
    leave_journal(tmp_path, AWAY)
    upload.resume_uploads(tmp_path)
    assert started == [tmp_path]


def test_a_password_comes_from_the_environment_and_never_into_the_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = begin(tmp_path, AWAY)
    assert b"secret" not in (journal.folder / "events.jsonl").read_bytes()
    assert tracking_folder(tmp_path).stat().st_mode & 0o077 == 0
    monkeypatch.setenv("MLFLOW_TRACKING_URI", AWAY)
    assert with_credentials(redact_uri(AWAY)) == AWAY
    assert with_credentials("http://elsewhere:5000") == "http://elsewhere:5000"
