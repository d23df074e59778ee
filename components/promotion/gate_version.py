"""Gate a registered version against production, or against the untrained student if there is none."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.base.errors import UserError
from components.promotion.gate import gate_folders
from components.tracking.registry import RefusedError, find_version, production_version

if TYPE_CHECKING:
    from mlflow import MlflowClient

FIRST = "evaluation"  # artifact folder of a version: the tables that the gate compares
AGAIN = "evaluation-again"  # tables of a second evaluation of the same weights, for the A/A noise floor


@dataclass(frozen=True)
class GateResult:
    """The verdict on one version. against: the champion's version, or `base` if there was none.

    difference, lower, upper: mean over tasks, in 0..1, with its interval.
    noise_floor: change of that mean when the same weights are evaluated again; None if not measured.
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


def gate_version(client: "MlflowClient", name: str, which: str) -> GateResult:
    """Compare a version with the champion on the same examples, or with the untrained student if there is none.

    Raises:
        UserError: no such version, or its evaluation is missing or not comparable with the champion's.
    """
    version, champion = find_version(client, name, which), production_version(client, name)
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
    """The commands that evaluate both versions on the current benchmark."""
    numbers = [v.version for v in (version, champion) if v is not None]
    return " and ".join(f"foundry evaluate {number}" for number in numbers)


def again_of(client: "MlflowClient", version: Any, to: Path) -> Path | None:
    """Download the second evaluation (`foundry evaluate VERSION --again`); None if there is none."""
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
            f"{version.name} version {version.version}: it has no evaluation ({problem}); evaluate it:"
            f" foundry evaluate {version.version}"
        ) from None
