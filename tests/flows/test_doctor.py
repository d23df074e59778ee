"""Each kind of wreckage is found, repaired, and named; a healthy checkout is left alone."""

import json
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from components.base.locks import try_lock
from components.base.owner import describe_owner
from components.promotion.lock import LOCK_TAG, lock_name
from components.tracking import upload
from components.tracking.journal import Journal, RunStart
from components.tracking.registry import registry_client
from components.tracking.store import EXPERIMENT, experiment_id, tracking_folder, tracking_uri
from components.tracking.uploader import OWNER_TAG
from flows import doctor
from flows.at_work import stage_at_work
from flows.dag import read_dag, run_dvc
from flows.isolation import owner_lock, owner_note
from flows.record import OWNER_VARIABLE
from tests.flows.test_processes import gone, wait_for

DEAD_PID = 4_000_000


def dead(root: Path) -> dict[str, object]:
    """The owner record of a process of this machine and checkout that has ended."""
    return {**describe_owner(root), "pid": DEAD_PID}


FOREIGN = {  # an owner that is not provably ours and dead: changes of the record above
    "another host": {"host": "laptop-of-a-colleague"},
    "another PID namespace": {"namespace": "pid:[4026532999]"},
    "another checkout": {"checkout": "/srv/other/checkout"},
    "a record of an older version": {"boot": "", "namespace": None},
}


def repaired(root: Path) -> list[str]:
    said: list[str] = []
    doctor.repair_all(root, look=False, say=said.append)
    return said


@pytest.mark.slow
def test_dvc_locks_worktrees_and_orphans(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_prefect_address", lambda: "")
    assert repaired(toy) == ["nothing wrong"]

    monkeypatch.setattr(doctor, "sees_all_processes", lambda: True)
    lock = toy / ".dvc" / "tmp" / "rwlock"
    lock.parent.mkdir(exist_ok=True)
    lock.write_bytes(b"")
    assert any("not valid JSON (0 bytes): removed" in line for line in repaired(toy))
    entry = {"pid": os.getpid(), "cmd": "dvc repro"}  # this pid lives, but is no dvc any more
    lock.write_text(json.dumps({"write": {"outputs/x": entry}, "read": {"input.txt": [entry]}}))
    assert any(f"entries of dead processes ({os.getpid()})" in line for line in repaired(toy))
    assert json.loads(lock.read_text()) == {"write": {}, "read": {}}
    run_dvc(toy, "status", *read_dag(toy))

    place = toy / ".cache" / "runs" / "dead"
    subprocess.run(["git", "worktree", "add", "-q", "--detach", str(place)], cwd=toy, check=True)
    owner_note(place).write_text(json.dumps(dead(toy)))
    environment = {**os.environ, OWNER_VARIABLE: json.dumps(dead(toy))}
    orphan = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], cwd=toy, env=environment)
    wait_for(lambda: OWNER_VARIABLE in psutil.Process(orphan.pid).environ())
    said: list[str] = []
    assert doctor.repair_all(toy, look=True, say=said.append) == 2
    assert place.exists()
    assert not gone(orphan.pid)
    said = repaired(toy)
    assert any("belongs to a dead flow" in line for line in said)
    assert any("leftover of a dead run" in line for line in said)
    orphan.wait(10)
    assert not place.exists()
    assert repaired(toy) == ["nothing wrong"]


@pytest.mark.slow
def test_runs_and_promotion_locks_of_dead_processes(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_prefect_address", lambda: "")
    client, uri = registry_client(toy), tracking_uri(toy)
    record = json.dumps(dead(toy))
    tags = {"journal": "20260101-000000-x", OWNER_TAG: record}
    swept = client.create_run(experiment_id(client, uri), run_name="train", tags=tags)
    client.create_registered_model(lock_name("m"), {LOCK_TAG: record}, description="ann since yesterday")
    waiting = Journal.open(tracking_folder(toy), RunStart(uri, EXPERIMENT, "mine"))
    events = waiting.folder / "events.jsonl"
    event = json.loads(events.read_text())
    events.write_text(json.dumps({**event, "owner": dead(toy)}) + "\n")

    said = "\n".join(repaired(toy))
    assert "1 runs wait to be uploaded" in said
    assert "MLflow run train" in said
    assert "promotion lock m.lock (ann since yesterday)" in said
    assert client.get_run(swept.info.run_id).info.status == "KILLED"
    killed = client.search_runs([experiment_id(client, uri)], "attributes.run_name = 'mine'")
    assert [run.info.status for run in killed] == ["KILLED"]
    assert not list(client.search_registered_models())
    assert repaired(toy) == ["nothing wrong"]


def test_a_lock_that_a_living_promoter_has_taken_since_it_was_listed_is_left(toy: Path) -> None:
    client = registry_client(toy)
    client.create_registered_model(lock_name("m"), {LOCK_TAG: json.dumps(dead(toy))})
    (finding,) = doctor.find_promotion_locks(toy)
    client.delete_registered_model(lock_name("m"))
    client.create_registered_model(lock_name("m"), {LOCK_TAG: json.dumps(describe_owner(toy))})
    assert finding.repair is not None
    finding.repair()
    assert [model.name for model in client.search_registered_models()] == [lock_name("m")]


@pytest.mark.slow
def test_what_is_not_provably_ours_and_dead_is_left(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_prefect_address", lambda: "")
    client, uri = registry_client(toy), tracking_uri(toy)
    experiment = experiment_id(client, uri)
    records = [{**dead(toy), **change} for change in FOREIGN.values()]
    records.append({**describe_owner(toy), "started": 1.0})  # alive; the time of day it started does not count
    client.create_registered_model("padlock.lock")
    client.create_model_version("padlock.lock", "s3://bucket/model")
    client.create_registered_model("x.lock", description="no version yet")
    tracking, held = tracking_folder(toy), ExitStack()
    for place, record in enumerate(records):
        text = json.dumps(record)
        client.create_run(experiment, tags={"journal": f"20260101-000000-{place}", OWNER_TAG: text})
        client.create_registered_model(lock_name(f"m{place}"), {LOCK_TAG: text})
        if record["checkout"] == str(toy):  # journals and worktrees lie in the checkout itself
            journal = Journal.open(tracking, RunStart(uri, EXPERIMENT, f"live {place}"))
            events = journal.folder / "events.jsonl"
            events.write_text(json.dumps({**json.loads(events.read_text()), "owner": record}) + "\n")
            note = owner_note(toy / ".cache" / "runs" / f"pipeline-{place}")
            note.parent.mkdir(exist_ok=True)
            note.write_text(text)
            held.enter_context(try_lock(owner_lock(note.with_suffix(""))))
            held.callback(journal.end, "FINISHED")
    client.create_run(experiment, tags={"journal": "20260101-000000-bare"})  # no record at all
    foreign = {**os.environ, OWNER_VARIABLE: json.dumps(records[1])}
    worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], cwd=toy, env=foreign)
    rwlock = toy / ".dvc" / "tmp" / "rwlock"
    rwlock.parent.mkdir(exist_ok=True)
    rwlock.write_text(entry := json.dumps({"write": {"outputs/x": {"pid": DEAD_PID, "cmd": "dvc repro"}}, "read": {}}))
    try:
        with stage_at_work(toy):  # a stage in another container, whose dvc has no pid here
            assert repaired(toy) == ["nothing wrong"]
        upload.upload_all(toy)
        assert not gone(worker.pid)
    finally:
        worker.kill()
        worker.wait()
    assert rwlock.read_text() == entry
    ended = [run.info.run_name for run in client.search_runs([experiment]) if run.info.status != "RUNNING"]
    assert ended == []
    assert len(list(client.search_registered_models())) == 2 + len(records)
    assert len(list((toy / ".cache" / "runs").glob("*.owner"))) == len(records) - 1


def test_a_broken_store_is_a_finding(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_prefect_address", lambda: "")
    (toy / "mlflow.db").write_bytes(b"noise" * 1000)
    said: list[str] = []
    assert doctor.repair_all(toy, look=False, say=said.append) == 1
    assert "not a database" in said[0]
    assert "repair or restore it" in said[0]


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server")
def test_a_dead_flow_run_crashes_and_a_live_one_of_another_checkout_does_not(toy: Path) -> None:
    from prefect import flow
    from prefect.client.orchestration import get_client
    from prefect.states import Crashed, Running

    registry, uri = registry_client(toy), tracking_uri(toy)
    with get_client(sync_client=True) as client:
        lost, other = (client.create_flow_run(flow(name="pipeline")(lambda: None), state=Running()) for _ in range(2))
        for run, record in ((lost, dead(toy)), (other, {**dead(toy), "checkout": "/srv/other/checkout"})):
            tags = {"prefect.flow_run_id": str(run.id), OWNER_TAG: json.dumps(record)}
            made = registry.create_run(experiment_id(registry, uri), tags=tags)
            registry.set_terminated(made.info.run_id, "KILLED")
        said = "\n".join(repaired(toy))
        assert f"({lost.id}) is RUNNING without a process: marked it Crashed" in said
        assert str(other.id) not in said
        for run, name in ((lost, "Crashed"), (other, "Running")):
            state = client.read_flow_run(run.id).state
            assert state is not None
            assert state.name == name
        client.set_flow_run_state(other.id, Crashed(), force=True)  # the server is shared with other tests
