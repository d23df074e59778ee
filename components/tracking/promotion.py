"""Which version is `production`: decided by the gate, swapped under a lock, recorded, and taken back in one call.

MLflow has no compare-and-set, so the lock is the one thing it makes exactly once: a registered model of a given name
(`<model>.lock`), unique in its database. Under it the champion is read again: a gate verdict against a version that is
no longer the champion is void. Tags are written first and the alias last, so a version that is `production` always
carries the verdict that made it so.
"""

import contextlib
import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from components.errors import UserError
from components.tracking.registry import PRODUCTION, find_version
from components.tracking.snapshot import git
from components.tracking.store import experiment_id

if TYPE_CHECKING:
    from mlflow import MlflowClient

LOCK_SECONDS = 120.0
TOLERANCE = 1e-3  # stored vectors have six decimals; another CPU or GPU moves the last few
AUDIT = "promotions"
FIRST = "evaluation"  # folder beside a version: the tables that the gate compares
AGAIN = "evaluation-again"  # and those of a second evaluation of the same weights, for the A/A noise floor


class RefusedError(UserError):
    """A promotion that must not happen; its text says why."""


@dataclass(frozen=True)
class GateResult:
    """The verdict on one version. against: the champion's version, or `base` when there was none.

    difference, lower, upper: mean over tasks, in points of 0..1, with its interval.
    noise_floor: how far that mean moves when the same weights are evaluated again; None when that was not measured.
    """

    name: str
    version: str
    against: str
    promote: bool
    reasons: list[str]
    difference: float
    lower: float
    upper: float
    noise_floor: float | None = None


# ---------------------------------------------------------------- gate


def gate(client: "MlflowClient", name: str, which: str) -> GateResult:
    """Compare a version with the champion on the same examples; with the untrained student when there is none.

    Raises:
        UserError: no such version, or its evaluation is missing or not comparable with the champion's.
    """
    from components.evaluation.gate import gate_folders

    version, champion = find_version(client, name, which), current(client, name)
    if champion is not None and champion.version == version.version:
        raise RefusedError(f"{name} version {version.version} is production already")
    with tempfile.TemporaryDirectory() as scratch:
        ours = evaluation_of(client, version, Path(scratch) / "candidate")
        theirs = evaluation_of(client, champion, Path(scratch) / "champion") if champion is not None else ours
        models = ("trained", "trained" if champion is not None else "base")
        try:
            verdict = gate_folders(ours, theirs, again=again_of(client, version, Path(scratch)), models=models)
        except UserError as problem:
            raise UserError(f"{problem}: {_evaluate_both(version, champion)}") from None
    return GateResult(
        name=name,
        version=str(version.version),
        against=str(champion.version) if champion is not None else "base",
        promote=verdict.promote,
        reasons=list(verdict.reasons),
        difference=verdict.mean_difference,
        lower=verdict.interval["lower"],
        upper=verdict.interval["upper"],
        noise_floor=verdict.noise_floor.mean if verdict.noise_floor.measured else None,
    )


def _evaluate_both(version: Any, champion: Any) -> str:
    """The commands that put both evaluations on today's benchmark."""
    numbers = [v.version for v in (version, champion) if v is not None]
    return " and ".join(f"python -m flows.evaluation {number}" for number in numbers)


def again_of(client: "MlflowClient", version: Any, to: Path) -> Path | None:
    """The version evaluated a second time (`python -m flows.evaluation VERSION --again`); None when it was not."""
    if not client.list_artifacts(version.run_id, AGAIN):
        return None
    return Path(client.download_artifacts(version.run_id, AGAIN, str(to)))


def evaluation_of(client: "MlflowClient", version: Any, to: Path) -> Path:
    """Download the evaluation tables registered with a version."""
    from mlflow.exceptions import MlflowException

    to.mkdir(parents=True)
    try:
        return Path(client.download_artifacts(version.run_id, FIRST, str(to)))
    except (MlflowException, OSError) as problem:
        raise UserError(
            f"{version.name} version {version.version}: no evaluation beside it ({problem}); evaluate it:"
            f" python -m flows.evaluation {version.version}"
        ) from None


def current(client: "MlflowClient", name: str) -> Any:
    """The version under the alias `production`, or None."""
    from mlflow.exceptions import MlflowException

    try:
        return client.get_model_version_by_alias(name, PRODUCTION)
    except MlflowException:
        return None


# ---------------------------------------------------------------- swap


def promote(client: "MlflowClient", result: GateResult, who: str, why: str, force: bool = False) -> dict[str, Any]:
    """Make the gated version `production`; returns the audit record.

    Raises:
        RefusedError: the gate said no (force overrides it, and is recorded), or production is no longer the version
            the gate compared with.
    """
    if not result.promote and not force:
        raise RefusedError(f"{result.name} version {result.version}: gate: hold: {'; '.join(result.reasons)}")
    with promotion_lock(client, result.name, who):
        champion = current(client, result.name)
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


def rollback(client: "MlflowClient", name: str, who: str, why: str) -> dict[str, Any]:
    """Give `production` back to the version the present one replaced; returns the audit record.

    Raises:
        RefusedError: nothing is in production, or it replaced nothing that had passed the gate.
    """
    with promotion_lock(client, name, who):
        champion = current(client, name)
        if champion is None:
            raise RefusedError(f"{name}: nothing is in production")
        before = champion.tags.get("promoted.replaces", "base")
        if before == "base":
            raise RefusedError(f"{name} version {champion.version} was the first in production: nothing to go back to")
        refuse_ungated(find_version(client, name, before))
        record = _record("rollback", name, before, str(champion.version), who, why)
        client.set_model_version_tag(name, str(champion.version), "rolled_back.because", why)
        client.set_model_version_tag(name, str(champion.version), "rolled_back.by", who)
        client.set_registered_model_alias(name, PRODUCTION, before)
    return record


def refuse_ungated(version: Any) -> None:
    """Raises RefusedError unless the version carries the tags of a passed (or knowingly overridden) gate."""
    if version.tags.get("gate.verdict") not in {"promote", "forced"}:
        raise RefusedError(
            f"{version.name} version {version.version} has not passed the gate (no gate.verdict tag); the alias was"
            " moved by hand. Promote it: python -m flows.promotion promote"
            f" {version.version}; or go back: python -m flows.promotion rollback"
        )


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
    client.set_registered_model_alias(name, PRODUCTION, version)


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


# ---------------------------------------------------------------- lock


def lock_name(name: str) -> str:
    return f"{name}.lock"


@contextlib.contextmanager
def promotion_lock(client: "MlflowClient", name: str, who: str, patience: float = LOCK_SECONDS) -> Iterator[None]:
    """One holder at a time, for everyone who uses this registry, on whatever machine.

    Raises:
        RefusedError: someone else held it for all of `patience` seconds; it says who and since when.
    """
    from mlflow.exceptions import MlflowException

    deadline = time.monotonic() + patience
    held = f"{who} since {datetime.now(UTC).isoformat(timespec='seconds')}"
    while True:
        try:
            client.create_registered_model(lock_name(name), description=held)
            break
        except MlflowException as problem:
            if time.monotonic() > deadline:
                raise RefusedError(
                    f"{name}: another promotion holds the lock ({_holder(client, name) or problem});"
                    " if it is dead: python -m flows.doctor"
                ) from None
            time.sleep(0.3)
    try:
        yield
    finally:
        client.delete_registered_model(lock_name(name))


def _holder(client: "MlflowClient", name: str) -> str:
    from mlflow.exceptions import MlflowException

    try:
        return str(client.get_registered_model(lock_name(name)).description)
    except MlflowException:
        return ""


# ---------------------------------------------------------------- after the swap


def smoke_test(client: "MlflowClient", name: str, which: str = PRODUCTION) -> float:
    """Load a version as a consumer would, embed the stored texts; returns the largest difference to their vectors.

    Raises:
        RefusedError: the vectors differ by more than 1e-3, or the version cannot be loaded.
    """
    import mlflow

    version = find_version(client, name, which)
    with tempfile.TemporaryDirectory() as scratch:
        stored = json.loads(Path(client.download_artifacts(version.run_id, "reference.json", scratch)).read_text())
    try:
        model = mlflow.pyfunc.load_model(f"models:/{name}/{version.version}")
        documents = model.predict(stored["texts"])
        queries = model.predict(stored["texts"], params={"side": "query", "task": stored["task"]})
    except Exception as problem:
        raise RefusedError(f"{name} version {version.version} does not load: {problem}") from problem
    worst = max(
        float(np.abs(np.array(ours) - np.array(stored[side])).max())
        for side, ours in (("documents", documents), ("queries", queries))
    )
    if not worst < TOLERANCE:
        raise RefusedError(f"{name} version {version.version}: vectors differ from the stored ones by {worst:.2g}")
    return worst


def write_audit(client: "MlflowClient", root: Path, uri: str, record: dict[str, Any]) -> str:
    """Keep the record as a run of the experiment `promotions` and as an annotated git tag; returns the tag's name.

    The tag names the commit the version was made from; empty when that is not in this repository.
    """
    experiment = experiment_id(client, uri, AUDIT)
    title = f"{record['what']} {record['name']} {record['version']}"
    run = client.create_run(
        experiment, run_name=title, tags={"foundry.kind": record["what"], "promoted.by": record["who"]}
    )
    client.log_dict(run.info.run_id, record, "record.json")
    for key in ("name", "version", "replaces", "who", "why"):
        client.log_param(run.info.run_id, key, record[key])
    client.set_terminated(run.info.run_id)
    commit = find_version(client, record["name"], record["version"]).tags.get("git.commit", "")
    if not git(root, "cat-file", "-t", commit or "-", check=False):
        return ""
    stamp = record["at"].replace(":", "").replace("-", "").partition("+")[0]
    tag = f"production/{record['name']}/v{record['version']}-{stamp}"
    git(
        root,
        "-c",
        f"user.name={record['who']}",
        "-c",
        "user.email=promotion@localhost",
        "tag",
        "--annotate",
        tag,
        commit,
        "-m",
        json.dumps(record, indent=2, sort_keys=True),
    )
    return tag
