"""Each kind of wreckage is found, repaired, and named; a healthy checkout is left alone."""

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from components.promotion.lock import lock_name
from components.tracking.journal import Journal, RunStart
from components.tracking.registry import registry_client
from components.tracking.store import EXPERIMENT, experiment_id, tracking_folder, tracking_uri
from flows import doctor
from flows.dag import read_dag, run_dvc
from flows.isolation import owner_note
from tests.flows.test_processes import gone, wait_for

DEAD = {"pid": 4_000_000, "started": 1.0}


def repaired(root: Path) -> list[str]:
    said: list[str] = []
    doctor.repair_all(root, look=False, say=said.append)
    return said


def test_dvc_locks_worktrees_and_orphans(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    assert repaired(toy) == ["nothing wrong"]

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
    owner_note(place).write_text(json.dumps(DEAD))
    environment = {**os.environ, "FOUNDRY_PIPELINE_JOURNAL": "journal:20260101-000000-dead"}
    orphan = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], cwd=toy, env=environment)
    wait_for(lambda: "FOUNDRY_PIPELINE_JOURNAL" in psutil.Process(orphan.pid).environ())
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


def test_runs_without_a_process_and_old_promotion_locks(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    client, uri = registry_client(toy), tracking_uri(toy)
    swept = client.create_run(experiment_id(client, uri), run_name="train", tags={"journal": "20260101-000000-x"})
    other = client.create_run(experiment_id(client, uri), tags={"journal": "j", "system.host": "another machine"})
    client.create_registered_model(lock_name("m"), description="ann since yesterday")
    monkeypatch.setattr(doctor, "LOCK_MINUTES", -1.0)
    waiting = Journal.open(tracking_folder(toy), RunStart(uri, EXPERIMENT, "mine"))
    events = waiting.folder / "events.jsonl"
    event = json.loads(events.read_text())
    events.write_text(json.dumps({**event, "owner": DEAD}) + "\n")

    said = "\n".join(repaired(toy))
    assert "1 runs wait to be uploaded" in said
    assert "MLflow run train" in said
    assert "promotion lock m.lock (ann since yesterday)" in said
    assert client.get_run(swept.info.run_id).info.status == "KILLED"
    assert client.get_run(other.info.run_id).info.status == "RUNNING"
    killed = client.search_runs([experiment_id(client, uri)], "attributes.run_name = 'mine'")
    assert [run.info.status for run in killed] == ["KILLED"]
    assert not list(client.search_registered_models())
    assert repaired(toy) == ["nothing wrong"]


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server")
def test_a_gpu_slot_nobody_holds_is_freed_and_a_dead_flow_run_crashes(toy: Path) -> None:
    from prefect import flow
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate
    from prefect.states import Running

    from flows.setup import make_gpu_slot

    assert make_gpu_slot().startswith("concurrency limit gpu")
    assert make_gpu_slot() == "concurrency limit gpu: exists"
    with get_client(sync_client=True) as client:
        lost = client.create_flow_run(flow(name="pipeline")(lambda: None), state=Running())
        client.update_global_concurrency_limit("gpu", GlobalConcurrencyLimitUpdate(active_slots=1))
        registry, uri = registry_client(toy), tracking_uri(toy)
        run = registry.create_run(experiment_id(registry, uri), tags={"prefect.flow_run_id": str(lost.id)})
        registry.set_terminated(run.info.run_id, "KILLED")
        said = "\n".join(repaired(toy))
        assert f"({lost.id}) is RUNNING without a process: marked it Crashed" in said
        assert "gpu is taken and no flow runs: freed it" in said
        state = client.read_flow_run(lost.id).state
        assert state is not None
        assert state.name == "Crashed"
        assert client.read_global_concurrency_limit_by_name("gpu").active_slots == 0
