"""Swap the `production` alias under a lock, with an audit record; rollback in one call.

Under the lock the champion is read again: a gate verdict against a version that is no longer the champion is void. Tags
are written first and the alias last, so the `production` version always has the tags of its verdict.
"""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from components.promotion.gate_version import GateResult
from components.promotion.lock import promotion_lock
from components.tracking.registry import PRODUCTION, RefusedError, find_version, production_version, refuse_ungated

if TYPE_CHECKING:
    from mlflow import MlflowClient


def promote(client: "MlflowClient", result: GateResult, who: str, why: str, force: bool = False) -> dict[str, Any]:
    """Make the gated version `production`; returns the audit record.

    Raises:
        RefusedError: the gate's verdict was hold (force overrides it, and is recorded), or production is no longer the
            version that the gate compared with.
    """
    if not result.promote and not force:
        raise RefusedError(f"{result.name} version {result.version}: gate: hold: {'; '.join(result.reasons)}")
    with promotion_lock(client, result.name, who):
        champion = production_version(client, result.name)
        now = str(champion.version) if champion is not None else "base"
        if now != result.against:
            by = champion.tags.get("promoted.by", "someone") if champion is not None else "a rollback"
            raise RefusedError(
                f"{result.name} version {result.version}: gated against {result.against}, but production is now {now}"
                f" ({by}); gate it again"
            )
        record = _record("promote", result.name, result.version, now, who, why)
        record["gate"] = {**asdict(result), "forced": force and not result.promote}
        _tag_and_swap(client, record, _gate_tags(result, force))
    return record


def rollback(client: "MlflowClient", name: str, who: str, why: str, tested: str = "") -> dict[str, Any]:
    """Move `production` back to the version that the current one replaced; returns the audit record.

    tested: the version that has passed the smoke test; any when empty.

    Raises:
        RefusedError: there is no production version, or the version it replaced had not passed the gate, or is not
            the one that was tested.
    """
    with promotion_lock(client, name, who):
        before = previous_version(client, name)
        if tested and before != tested:
            raise RefusedError(f"{name}: production moved while version {tested} was tested; roll back again")
        champion = production_version(client, name)
        record = _record("rollback", name, before, str(champion.version), who, why)
        client.set_model_version_tag(name, str(champion.version), "rolled_back.because", why)
        client.set_model_version_tag(name, str(champion.version), "rolled_back.by", who)
        move_alias(client, name, before)
    return record


def previous_version(client: "MlflowClient", name: str) -> str:
    """The version that production replaced, which a rollback makes production again.

    Raises:
        RefusedError: there is none, or it had not passed the gate.
    """
    champion = production_version(client, name)
    if champion is None:
        raise RefusedError(f"{name}: nothing is in production")
    before = str(champion.tags.get("promoted.replaces", "base"))
    if before == "base":
        raise RefusedError(f"{name} version {champion.version} was the first in production: nothing to go back to")
    refuse_ungated(find_version(client, name, before))
    return before


def _tag_and_swap(client: "MlflowClient", record: dict[str, Any], tags: dict[str, str]) -> None:
    name, version = record["name"], record["version"]
    tags |= {
        "promoted.by": record["who"],
        "promoted.because": record["why"],
        "promoted.at": record["at"],
        "promoted.replaces": record["replaces"],
    }
    for key, value in tags.items():
        client.set_model_version_tag(name, version, key, value[:5000])
    move_alias(client, name, version)


def move_alias(client: "MlflowClient", name: str, version: str) -> None:
    """Make the version production. An answer that got lost is no failure: what MLflow holds then decides."""
    from mlflow.exceptions import MlflowException

    try:
        client.set_registered_model_alias(name, PRODUCTION, version)
    except MlflowException:
        now = production_version(client, name)
        if now is None or str(now.version) != version:
            raise


def _gate_tags(result: GateResult, force: bool) -> dict[str, str]:
    return {
        "gate.against": result.against,
        "gate.difference": f"{result.difference:+.4f}",
        "gate.interval": f"{result.lower:+.4f} {result.upper:+.4f}",
        "gate.noise_floor": "not measured" if result.noise_floor is None else f"{result.noise_floor:.6f}",
        "gate.reasons": "; ".join(result.reasons),
        "gate.verdict": "promote" if result.promote else "forced" if force else "hold",
    }


def _record(what: str, name: str, version: str, replaces: str, who: str, why: str) -> dict[str, Any]:
    at = datetime.now(UTC).isoformat(timespec="seconds")
    return {"what": what, "name": name, "version": version, "replaces": replaces, "who": who, "why": why, "at": at}
