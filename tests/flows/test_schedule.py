"""Deployments on a real server: prefect.yaml goes up as it is, and a cron schedule fires on time."""

import os
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from components.base.daemon import Server
from flows.monitor import DRIFT_EVENT
from flows.pipeline import pipeline
from flows.setup import AUTOMATION, DRIFT_AUTOMATION, POOL, make_heartbeat_automation, make_pool, set_up
from tests.flows.test_processes import wait_for

REPOSITORY = Path(__file__).parents[2]
AWAY = "http://127.0.0.1:9"  # the discard port: nothing listens, so nothing is uploaded


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server", "warm_start")
def test_a_cron_deployment_fires_on_time(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect.client.orchestration import get_client

    monkeypatch.setenv("MLFLOW_TRACKING_URI", AWAY)
    make_pool("toy")
    env = {**os.environ, "PREFECT_WORKER_QUERY_SECONDS": "2", "PREFECT_WORKER_PREFETCH_SECONDS": "2"}
    worker = Server("worker", ["prefect", "worker", "start", "--pool", "toy"], env, toy / ".cache" / "worker.log")
    try:
        with get_client(sync_client=True) as client:
            wait_for(lambda: client.read_workers_for_work_pool("toy"), 240)
            deployment = deploy_every_20_seconds(toy)
            run = first_ended(client, deployment, 240)
            pending = next(s for s in client.read_flow_run_states(run.id) if s.type.value == "PENDING")
    finally:
        worker.stop()
    assert run.state.name == "Completed", (toy / ".cache" / "worker.log").read_text()[-2000:]
    assert timedelta(seconds=-3) < pending.timestamp - run.expected_start_time < timedelta(seconds=20)
    assert (toy / "outputs/source/out.txt").exists()


def deploy_every_20_seconds(toy: Path) -> Any:
    """The first stage of the toy on a cron schedule; a sixth field of cron is seconds. Returns its id."""
    source: Any = pipeline.from_source(source=str(REPOSITORY), entrypoint="flows/pipeline.py:pipeline")
    return source.deploy(
        name="three a minute",
        work_pool_name="toy",
        cron="* * * * * */20",
        parameters={"root": str(toy), "targets": ["source"]},
        print_next_steps=False,
    )


def first_ended(client: Any, deployment: Any, seconds: float) -> Any:
    """The first flow run of a deployment that ended."""
    from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId

    only = DeploymentFilter(id=DeploymentFilterId(any_=[deployment]))
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for run in client.read_flow_runs(deployment_filter=only):
            if run.state is not None and run.state.is_final():
                return run
        time.sleep(1)
    raise AssertionError("no scheduled run ended in time")


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server", "warm_start")
def test_prefect_yaml_goes_up_as_it_is_and_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect.client.orchestration import get_client

    monkeypatch.chdir(REPOSITORY)
    set_up(REPOSITORY)
    again = [make_heartbeat_automation(), make_pool(POOL)]
    assert all(line.endswith(": exists") for line in again), again
    with get_client(sync_client=True) as client:
        found = {deployment.name: deployment for deployment in client.read_deployments()}
        assert len(client.read_automations_by_name(AUTOMATION)) == 1
        assert [one.enabled for one in client.read_automations_by_name(DRIFT_AUTOMATION)] == [False]
        assert drift_starts(client) == found["weekly"].id
    assert set(found) >= {"nightly", "weekly", "on-demand", "promote", "rollback", "evaluate", "sweep"}
    crons = {name: [s.schedule.cron for s in found[name].schedules] for name in ("nightly", "weekly", "sweep")}
    assert crons == {"nightly": ["0 2 * * *"], "weekly": ["0 3 * * 0"], "sweep": ["*/15 * * * *"]}
    assert found["nightly"].parameters == {"isolated": True, "alone": "nightly"}
    assert not any(one.global_concurrency_limit for one in found.values()), "leases get lost"


def drift_starts(client: Any) -> Any:
    """The deployment of the flow runs that the monitor's event creates, once the automation is on.

    The server answers before its trigger service knows that the automation is on, and an event that comes between the
    two starts nothing, so the event is sent again every five seconds.
    """
    from prefect.events import emit_event

    [automation] = client.read_automations_by_name(DRIFT_AUTOMATION)
    client.resume_automation(automation.id)
    deadline = time.monotonic() + 120
    while not (
        runs := [run for run in client.read_flow_runs() if run.created_by and run.created_by.type == "AUTOMATION"]
    ):
        assert time.monotonic() < deadline, "the event starts no run"
        emit_event(
            DRIFT_EVENT, resource={"prefect.resource.id": "embedding-foundry.model.m"}, payload={"alerts": ["a"]}
        )
        time.sleep(5)
    client.pause_automation(automation.id)
    for run in runs:
        client.delete_flow_run(run.id)
    [deployment] = {run.deployment_id for run in runs}
    return deployment
