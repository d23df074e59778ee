"""The flow on a toy pipeline and a real server: states, parallel branches, failures, retries, MLflow."""

import re
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from components.base.errors import UserError
from components.base.locks import try_lock
from components.tracking.store import EXPERIMENT, connect, tracking_uri
from flows.at_work import lock_file
from flows.dag import read_dag
from flows.doctor import sweep
from flows.pipeline import TRANSIENT, TransientFailureError, _failure, pipeline, run_stage


def runs(root: Path) -> list[Any]:
    client = connect(tracking_uri(root))
    experiment = client.get_experiment_by_name(EXPERIMENT)
    return [] if experiment is None else client.search_runs([experiment.experiment_id])


def states(root: Path) -> dict[str, tuple[str, str]]:
    """Stage -> (state's name, its message) of the latest flow run.

    Task runs reach the server as events, which it records some time after the flow has ended: they are waited for.
    """
    deadline, stages = time.monotonic() + 120, set(read_dag(root))
    while True:
        found = recorded_states()
        if set(found) == stages and all(state.is_final() or state.name == "NotReady" for state in found.values()):
            return {stage: (str(state.name), state.message or "") for stage, state in found.items()}
        assert time.monotonic() < deadline, f"the server knows only {found}"
        time.sleep(0.2)


def recorded_states() -> dict[str, Any]:
    """Stage -> state of the latest flow run that has started, as far as the server has recorded its task runs."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId, FlowRunFilterStartTime
    from prefect.client.schemas.sorting import FlowRunSort

    with get_client(sync_client=True) as client:
        started = FlowRunFilter(start_time=FlowRunFilterStartTime(is_null_=False))  # not one that a schedule foresees
        latest = client.read_flow_runs(flow_run_filter=started, sort=FlowRunSort.START_TIME_DESC, limit=1)[0]
        tasks = client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[latest.id])))
    return {task.name: task.state for task in tasks if task.state is not None}


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server", "warm_commands")
def test_states_nested_runs_and_no_new_runs_when_unchanged(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOY_SLEEP", "2")
    assert pipeline(root=str(toy)) == dict.fromkeys(("source", "left", "right", "join"), "executed")
    assert (toy / "outputs/join/out.txt").read_text().startswith("join(left(source(hello)")

    made = {run.info.run_name: run for run in runs(toy)}
    assert set(made) == {"starter", "source", "left", "right", "join"}
    top = made.pop("starter")
    assert {run.data.tags["mlflow.parentRunId"] for run in made.values()} == {top.info.run_id}
    assert {run.info.status for run in (top, *made.values())} == {"FINISHED"}
    left, right = made["left"].info, made["right"].info
    assert max(left.start_time, right.start_time) < min(left.end_time, right.end_time), "the branches ran side by side"
    lock = subprocess.run(
        ["git", "show", f"{top.data.tags['git.commit']}:dvc.lock"], cwd=toy, capture_output=True, text=True, check=True
    ).stdout
    for run in made.values():
        assert run.data.tags["dvc.out.md5"] in lock
    assert top.data.metrics["join/length"] > top.data.metrics["source/length"], "every stage's figures, to compare runs"
    assert top.data.params["train.steps"]

    assert set(pipeline(root=str(toy)).values()) == {"unchanged"}
    assert {state for state, _ in states(toy).values()} == {"Cached"}
    assert len(runs(toy)) == 5, "an unchanged pipeline leaves no MLflow run"

    (toy / "outputs/right/out.txt").unlink()
    assert pipeline(root=str(toy))["right"] == "restored from the run cache"


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server", "warm_commands")
def test_failure_speaks_in_the_stage_s_words_and_a_transient_one_is_tried_again(
    toy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (toy / "input.txt").write_text("boom")
    with pytest.raises(RuntimeError, match=r"source: input.txt: says boom.*left: not run, a stage it needs failed"):
        pipeline(root=str(toy))
    found = states(toy)
    assert found["source"][0] == "Failed"
    assert found["join"][0] == "NotReady"
    assert [run.info.status for run in runs(toy) if run.info.run_name == "starter"] == ["FAILED"]

    monkeypatch.setattr(run_stage, "retry_delay_seconds", [0.1])
    (toy / "input.txt").write_text("flaky")
    assert pipeline(root=str(toy), targets=["left"]) == {"source": "executed", "left": "executed"}
    assert (toy / ".cache" / "tried").exists()


def test_a_run_that_must_be_alone_is_cancelled_while_another_works(toy: Path) -> None:
    with try_lock(lock_file(toy, "nightly")), try_lock(lock_file(toy, "sweep")):
        for state in (pipeline.fn(root=str(toy), alone="nightly"), sweep.fn(root=str(toy))):
            assert state.is_cancelled()
            assert re.search(r"\(pid \d+ since .*\)", state.message)
    assert not (toy / "outputs").exists()


def test_parameters_need_an_isolated_run(toy: Path) -> None:

    with pytest.raises(UserError, match="isolated"):
        pipeline.fn(root=str(toy), parameters={"train.steps": 1})


@pytest.mark.parametrize(
    ("line", "transient"),
    [
        ("ERROR: Unable to acquire lock", True),
        ("requests.exceptions.ConnectionError: refused", True),
        ("failed to run: python -m x, exited with 137", True),
        ("failed to run: python -m x, exited with 1", False),
        ("ValueError: shapes differ", False),
    ],
)
def test_only_what_may_pass_is_tried_again(line: str, transient: bool) -> None:
    assert bool(TRANSIENT.search(line)) is transient
    assert isinstance(_failure("train", [line], 1), TransientFailureError) is transient


def test_a_user_error_is_never_transient() -> None:
    failure = _failure("fetch", ["error: fetch: hub: ConnectionError is what the file says", "exited with 1"], 1)
    assert not isinstance(failure, TransientFailureError)
    assert str(failure).startswith("error: fetch: hub")


def test_dvc_s_own_failure_is_shown_and_a_full_disk_is_not_tried_again() -> None:
    full = "ERROR: failed to reproduce 'left': [Errno 28] No space left on device"
    failure = _failure("left", ["> python stage.py left source", full], 1)
    assert str(failure) == f"left: {full}"
    assert not isinstance(failure, TransientFailureError)
    usual = ["KeyError: 'x'", "ERROR: failed to reproduce 'left': failed to run: python stage.py left, exited with 1"]
    assert str(_failure("left", usual, 1)) == "left: KeyError: 'x'"


def test_a_lock_has_a_safe_name(toy: Path) -> None:
    with pytest.raises(UserError, match=r"alone: '\.\./\.\./evil' is no name"):
        pipeline.fn(root=str(toy), alone="../../evil")
    assert not (toy.parent / "evil.lock").exists()
