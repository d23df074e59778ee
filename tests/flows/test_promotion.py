"""The promotion flow on a real server: gate, a person's answer in a form, swap, smoke test, audit, and back."""

import threading
import time
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from components.promotion import smoke
from components.serving.shadow import Comparison, Shadowed
from components.tracking.registry import RefusedError, production_version
from components.tracking.store import connect, tracking_uri
from flows import promotion as flow
from flows.promotion import promotion, rollback
from tests.tracking.stores import NAME, add_version


@pytest.fixture
def registry(toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The toy with three versions, each better; the models themselves are tested in tests/tracking."""
    for seed, quality in enumerate((0.5, 0.6, 0.7)):
        add_version(tracking_uri(toy), tmp_path, quality, seed)
    monkeypatch.setattr(smoke, "smoke_test", lambda client, name, version: 0.0)
    return toy


def production(root: Path) -> str:
    return str(production_version(connect(tracking_uri(root)), NAME).version)


def answering(form: dict[str, Any]) -> Callable[[], None]:
    """Fill in the form of the flow run that pauses next, as a person does in the UI."""

    def answer() -> None:
        from prefect.client.orchestration import get_client
        from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
        from prefect.client.schemas.objects import StateType
        from prefect.flow_runs import resume_flow_run

        paused = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.PAUSED])))
        with get_client(sync_client=True) as client:
            for _ in range(600):
                found = client.read_flow_runs(flow_run_filter=paused)
                if found:
                    resume_flow_run(found[0].id, run_input=form)
                    return
                time.sleep(0.5)

    return answer


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server")
def test_gated_asked_swapped_recorded_and_back(registry: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = promotion(because="first", version="1", root=str(registry))
    assert (record["replaces"], record["smoke_test"]) == ("base", {"largest_difference": 0.0})

    answer = answering({"approve": True, "by": "ann", "because": "I looked"})
    person = threading.Thread(target=copy_context().run, args=(answer,))  # Prefect's settings live in the context
    person.start()
    monkeypatch.setattr(flow, "pause_flow_run", partial(flow.pause_flow_run, poll_interval=1))
    hits = [(0.9, "a"), (0.8, "b")]
    beside = Comparison("2", "1", "faq", "corpus.txt", 2, [Shadowed("what", hits, hits)])
    monkeypatch.setattr("components.serving.shadow.compare_versions", lambda *given: beside)
    record = promotion(because="from the pipeline", version="2", ask=True, queries="queries.txt", root=str(registry))
    person.join()
    assert (registry / ".cache" / "compare" / "2-1.html").is_file(), "the page that the person was shown"
    assert (record["who"], record["why"], record["version"]) == ("ann", "I looked", "2")

    def broken(client: Any, name: str, version: str) -> float:
        raise RefusedError("vectors differ")

    with monkeypatch.context() as patch:
        patch.setattr(smoke, "smoke_test", broken)
        with pytest.raises(RefusedError, match="vectors differ"):
            promotion(because="looks good", version="3", root=str(registry))
    assert production(registry) == "2", "production does not move before the smoke test"

    rollback(because="slow", root=str(registry))
    assert production(registry) == "1"


@pytest.mark.parametrize(("moved", "audited"), [(False, False), (True, False), (True, True)])
def test_a_flow_that_fails_once_production_has_moved_is_a_success_with_a_warning(
    moved: bool, audited: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prefect may go away between the swap and the flow's last state."""
    written = list[dict[str, Any]]()
    monkeypatch.setattr(flow.registry_swap, "promote", lambda *_: {"version": "2"})
    monkeypatch.setattr(flow, "registry_client", lambda root: None)
    monkeypatch.setattr(flow.audit_record, "write_audit", lambda *given: written.append(given[-1]) or "production/2")

    def run() -> dict[str, Any]:
        if moved:
            record: dict[str, Any] = flow.swap.fn("", cast("Any", None), "ann", "better", False)
            if audited:
                record["git_tag"] = "production/2 of the flow"
        raise httpx.ConnectError("All connection attempts failed")

    if not moved:
        with pytest.raises(httpx.ConnectError):
            flow.moved_or_raise(run, tmp_path)
        return
    record = flow.moved_or_raise(run, tmp_path)
    assert record["warning"].startswith("production has moved, but its flow failed after that: All connection")
    assert record["git_tag"] == ("production/2 of the flow" if audited else "production/2")
    assert len(written) == (not audited)
