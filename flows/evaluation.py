"""Evaluate any model version on the current benchmark, so that the gate can compare it with newer ones.

    foundry evaluate 3              a version (number or alias; MODEL/3 for another model)
    foundry evaluate 3 --again      a second time, for the gate's A/A noise floor

The version's adapter and shots, from the commit that made it, are put into a worktree, where the evaluate stage runs.
Its tables replace those stored with the version. `--again` recomputes every vector in batches of half the size and
stores its tables next to the first ones: the difference between the two is noise.
"""

import os
import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE

from components.base.checkout import home
from components.base.errors import UserError
from components.config import load_config
from components.promotion.gate_version import AGAIN, FIRST
from components.registration.register import EVALUATION
from components.tracking.registry import DEFAULT_NAME, find_version, registry_client
from components.tracking.snapshot import resolve_commit
from components.tracking.store import tracking_uri, version_link
from components.tracking.summary import metrics_of
from flows import isolation
from flows.dag import DVC, FOUNDRY, read_dag, run_dvc
from flows.gpu_slot import hold_cards
from flows.processes import allow_running, raise_if_stopped, run_streamed
from flows.record import stage_environment

OWN = ("outputs/train", "outputs/select_shots")
DAY_SECONDS = 24 * 3600.0


@task(cache_policy=NO_CACHE, task_run_name="evaluate {name} {version.version}")
def evaluate_version(root: Path, name: str, version: Any, again: bool) -> dict[str, float]:
    """Run the evaluate stage with the version's outputs in a worktree; returns its metrics.

    Raises:
        UserError: the version's commit is not in this repository, or a stage failed.
    """
    commit = resolve_commit(root, version.tags.get("git.commit", ""))
    with isolation.isolated_worktree(root, "HEAD", f"evaluation-{uuid.uuid4().hex[:8]}") as place:
        isolation.begin_from_newest(root, place)
        _run("the benchmark's input stages", [*DVC, "repro", *benchmark_stages(place)], place)
        for path in OWN:
            shutil.rmtree(place / path, ignore_errors=True)
            run_dvc(root, "get", str(root), path, "--rev", commit, "--out", str(place / path))
        if again:
            force_recompute(place)
        command = [*FOUNDRY, "stage", "evaluate"]
        _run(f"{name} version {version.version}: the evaluate stage", command, place)
        client, made = registry_client(root), place / "outputs" / "evaluate"
        for table in EVALUATION:
            client.log_artifact(version.run_id, str(made / table), AGAIN if again else FIRST)
        return metrics_of(made)


def benchmark_stages(root: Path) -> list[str]:
    """The stages that evaluate depends on, except those whose outputs come from the version."""
    own = {Path(path).name for path in OWN}
    return [name for name in read_dag(root)["evaluate"].needs if name not in own]


def force_recompute(place: Path) -> None:
    """Make the worktree's next evaluation embed every text again, in batches of half the size."""
    budget = load_config(place / "params.yaml").encoder.token_budget
    isolation.change_parameters(place, "", {"encoder.token_budget": max(1, budget // 2)})
    vectors = place / ".cache" / "vectors"
    vectors.unlink(missing_ok=True)  # a symlink to the checkout's vectors, which include the first evaluation's
    vectors.mkdir()


def _run(what: str, command: Sequence[str], place: Path) -> None:
    environment = {**os.environ, **stage_environment(None, home(place))}
    if run_streamed(command, place, environment, get_run_logger().info, DAY_SECONDS):
        raise UserError(f"{what} failed; see the log")


@flow(name="evaluation", flow_run_name="{name} {version}")
def evaluation(version: str | int, name: str = DEFAULT_NAME, again: bool = False, root: str = ".") -> dict[str, float]:
    """Evaluate a version on the current benchmark; returns the metrics of the evaluate stage.

    version: a number, which `prefect deployment run --param` makes an int, or an alias.
    again: store the tables next to the first evaluation's, for the gate's A/A noise floor.
    """
    place = Path(root).resolve()
    allow_running()
    found = find_version(registry_client(place), name, str(version))
    with hold_cards(get_run_logger().info, raise_if_stopped):
        metrics: dict[str, float] = evaluate_version(place, name, found, again)
    get_run_logger().info(version_link(tracking_uri(place), name, found.version))
    return metrics
