"""kill -9 of the flow, dvc, the stage and the worker, and a cancel. Twenty: `python -m tests.flows.kills`."""

from pathlib import Path

import pytest

from components.tracking.journal_files import journals
from components.tracking.store import EXPERIMENT, connect, tracking_folder, tracking_uri
from flows import doctor
from tests.flows.kills import TARGETS, campaign, deploy, final_state, nothing_left, worker_running
from tests.flows.test_processes import wait_for


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.usefixtures("prefect_server")
def test_killed_anywhere_the_rerun_gives_the_same_bytes(toy: Path) -> None:
    campaign(toy, kills=len(TARGETS), seed=7)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("prefect_server")
def test_cancelled_in_the_ui_leaves_nothing(toy: Path) -> None:
    from prefect.client.orchestration import get_client
    from prefect.states import Cancelling

    deploy(toy)
    with worker_running(toy) as (_, run):
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(run, Cancelling())
        assert final_state(run) == "Cancelled"
    nothing_left(toy)
    doctor.repair_all(toy, look=False, say=print)
    wait_for(lambda: not any(journals(tracking_folder(toy))), 120)  # the upload process may be at it still
    client = connect(tracking_uri(toy))
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    ended = {r.info.run_name: r.info.status for r in client.search_runs([experiment.experiment_id])}
    assert ended.pop("starter") == "KILLED"
    assert set(ended.values()) <= {"KILLED", "FINISHED"}, "stages that had begun; on a busy machine one may have ended"
