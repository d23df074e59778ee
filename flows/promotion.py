"""Promotion and rollback flows: gate, optional manual approval, smoke test, swap, audit.

    foundry promote [VERSION] --because TEXT [--ask]     default version: candidate
    foundry rollback --because TEXT
    foundry status

`--ask` pauses the flow run with a form in Prefect's UI (needs a server: `make ui`). The swap itself does not need
Prefect: components/promotion/swap.py.

Everything that can refuse comes before the swap. So a flow that fails has not moved production, and one that has moved
it ends well; a failing audit record is a warning.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, pause_flow_run, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.input import RunInput
from pydantic import Field

from components.base.machine import user_name
from components.base.short_lines import describe_exception
from components.promotion import audit as audit_record
from components.promotion import smoke
from components.promotion import swap as registry_swap
from components.promotion.gate_version import GateResult, gate_version
from components.promotion.swap import previous_version
from components.tracking.registry import CANDIDATE, DEFAULT_NAME, RefusedError, registry_client
from components.tracking.store import tracking_uri, version_link
from flows.links import run_page

APPROVAL_SECONDS = 24 * 3600
_moved: list[dict[str, Any]] = []  # records of this process's swaps: Prefect may lose what a task returns
SHOWN = 5  # documents a query on the page that compares two versions


class Approval(RunInput):
    """Approval form; the audit record names the approver and the reason, so neither may be empty."""

    approve: bool = Field(default=False, title="Make it production")
    by: str = Field(min_length=1, title="Your name")
    because: str = Field(min_length=1, title="Why (kept in the audit record)")


@task(cache_policy=NO_CACHE)
def gate(root: str, name: str, version: str) -> GateResult:
    """The statistical verdict on the version."""
    result = gate_version(registry_client(Path(root)), name, version)
    create_markdown_artifact(gate_markdown(result), key="gate", description=f"{name} version {result.version}")
    return result


@task(cache_policy=NO_CACHE)
def shadow(root: str, name: str, result: GateResult, queries: str) -> str:
    """Both versions on the same fresh queries, as a page below .cache; returns a line about it, for the form."""
    from components.serving.shadow import compare_versions, comparison_page

    versions = (f"{name}/{result.version}", f"{name}/{result.against}")
    found = compare_versions(Path(root), *versions, Path(root, queries), None, "", SHOWN)
    page = Path(root, ".cache", "compare", f"{result.version}-{result.against}.html")
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(comparison_page(found, SHOWN), encoding="utf-8")
    return f"Beside version {result.against}, {found.summary(SHOWN)}. The page: {page}"


@task(cache_policy=NO_CACHE)
def swap(root: str, result: GateResult, who: str, why: str, force: bool) -> dict[str, Any]:
    """Move the alias, under the lock."""
    record = registry_swap.promote(registry_client(Path(root)), result, who, why, force)
    _moved[:] = [record]
    return record


@task(cache_policy=NO_CACHE, retries=1, retry_delay_seconds=5)
def smoke_test(root: str, name: str, version: str) -> float:
    """Load the version and compare its vectors with the stored ones, before production moves."""
    return smoke.smoke_test(registry_client(Path(root)), name, version)


@task(cache_policy=NO_CACHE)
def undo(root: str, name: str, who: str, why: str, tested: str) -> dict[str, Any]:
    """Move production back to the previous version, which has been tested."""
    record = registry_swap.rollback(registry_client(Path(root)), name, who, why, tested)
    _moved[:] = [record]
    return record


@task(cache_policy=NO_CACHE)
def audit(root: str, record: dict[str, Any]) -> str:
    """Write the audit record."""
    place = Path(root)
    return audit_record.write_audit(registry_client(place), place, tracking_uri(place), record)


@flow(name="promotion", flow_run_name="{name} {version}")
def promotion(
    because: str,
    version: str | int = CANDIDATE,
    name: str = DEFAULT_NAME,
    ask: bool = False,
    who: str = "",
    force: bool = False,
    queries: str = "",
    root: str = ".",
) -> dict[str, Any]:
    """Promote a version; returns the audit record.

    Args:
        queries: a file of fresh queries: before the approval, the version and production answer them side by side.

    Raises:
        RefusedError: the gate, the approver or the smoke test refused, or production changed in the meantime.
    """
    log, place, who = get_run_logger(), str(Path(root).resolve()), who or user_name()
    result = gate(place, name, str(version))
    log.info(f"gate: {'promote' if result.promote else 'hold'}: {'; '.join(result.reasons)}")
    beside = shadow(place, name, result, queries) if queries and result.against != "base" else ""
    if beside:
        log.info(beside)
    if ask:
        answer = _ask(result, beside, _link(place, name, result.version))
        who, because = answer.by, answer.because
    worst = smoke_test(place, name, result.version)
    record: dict[str, Any] = swap(place, result, who, because, force)
    record["smoke_test"] = {"largest_difference": worst}
    log.info(f"{name} version {result.version} is in production: {_link(place, name, result.version)}")
    return _audited(place, record)


def moved_or_raise(call: Callable[[], dict[str, Any]], root: Path) -> dict[str, Any]:
    """The audit record of a promotion or rollback, also if its flow fails once production has moved: Prefect went away.

    What has moved is a success with a warning, and its audit record is written here if the flow did not come to it.
    """
    _moved.clear()
    try:
        return call()
    except Exception as problem:
        if not _moved:
            raise
        record = _moved[-1]
        record["warning"] = f"production has moved, but its flow failed after that: {describe_exception(problem)}"
        if "git_tag" not in record:
            try:
                record["git_tag"] = audit_record.write_audit(registry_client(root), root, tracking_uri(root), record)
            except Exception as trouble:  # noqa: BLE001  any error of MLflow or git
                record["warning"] += f"; and the audit record is incomplete: {describe_exception(trouble)}"
        return record


def _audited(place: str, record: dict[str, Any]) -> dict[str, Any]:
    """The record with its git tag. Production has moved: what fails now is a warning in it, and no failure."""
    _moved[:] = [record]
    try:
        record["git_tag"] = audit(place, record)
    except Exception as problem:  # noqa: BLE001  any error of MLflow or git
        record["warning"] = f"production has moved, but the audit record is incomplete: {describe_exception(problem)}"
        get_run_logger().warning(record["warning"])
    return record


@flow(name="rollback", flow_run_name="{name}")
def rollback(because: str, name: str = DEFAULT_NAME, who: str = "", root: str = ".") -> dict[str, Any]:
    """Move production back to the version that the current one replaced; returns the audit record."""
    place, who = str(Path(root).resolve()), who or user_name()
    before = previous_version(registry_client(Path(place)), name)
    worst = smoke_test(place, name, before)
    record: dict[str, Any] = undo(place, name, who, because, before)
    record["smoke_test"] = {"largest_difference": worst}
    return _audited(place, record)


def _ask(result: GateResult, beside: str, link: str) -> Approval:
    page = f"{gate_markdown(result)}\n{beside}\n\n[The version in MLflow]({link})\n"
    form = Approval.with_initial_data(description=page, approve=False)
    get_run_logger().info(f"waiting for approval: press Resume on {run_page()}")
    answer: Approval = pause_flow_run(wait_for_input=form, timeout=APPROVAL_SECONDS)
    if not answer.approve:
        raise RefusedError(f"{result.name} version {result.version}: refused by {answer.by}: {answer.because}")
    return answer


def gate_markdown(result: GateResult) -> str:
    """The verdict as Markdown, for the form and the run's page."""
    reasons = "\n".join(f"- {reason}" for reason in result.reasons)
    return (
        f"## {result.name} version {result.version} against {result.against}: "
        f"**{'promote' if result.promote else 'hold'}**\n\n"
        f"Mean over tasks: {100 * result.difference:+.2f} points "
        f"(95 % interval {100 * result.lower:+.2f} to {100 * result.upper:+.2f})\n\n{reasons}\n"
    )


def _link(root: str, name: str, version: str) -> str:
    return version_link(tracking_uri(Path(root)), name, version)
