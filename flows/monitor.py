"""Watch the production model by the queries it is asked (docs/operations.md, After promotion).

    foundry monitor

The queries of training, the corpus and the teacher are those of the run that made the production version: they are
restored from DVC's cache in a worktree, as what this checkout has made since may be another run's.

An alert ends the flow run as Failed with the name Drifted, and is an event, `embedding-foundry.drift`, for automations.
`foundry setup` makes one that starts the weekly re-mining; it is off until you turn it on in Prefect's UI.
"""

import uuid
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.events import emit_event
from prefect.states import Failed

from components.base.errors import UserError
from components.config import load_config
from components.serving.monitor import Limits, Watch, monitor_page, watch
from components.serving.sample import FOLDER
from components.tracking.registry import DEFAULT_NAME, PRODUCTION, find_version, refuse_ungated, registry_client
from components.tracking.snapshot import resolve_commit
from flows import isolation
from flows.dag import run_dvc

DRIFT_EVENT = "embedding-foundry.drift"
PAGE = Path(".cache") / "served" / "monitor.html"


@flow(name="monitor", flow_run_name="{name}")
def monitor(name: str = DEFAULT_NAME, days: int = 30, novel: float = 0.2, drop: float = 0.1, root: str = ".") -> Any:
    """Compare the sampled queries with training; returns the alerts, or ends as Drifted if there are any.

    Args:
        novel: an alert is a larger share of novel queries than this.
        drop: or agreement with the teacher that is lower by more than this.
    """
    place = Path(root).resolve()
    limits = Limits(novel, drop)
    version = find_version(registry_client(place), name, PRODUCTION)
    refuse_ungated(version)
    commit = resolve_commit(place, version.tags.get("git.commit", ""))
    (place / FOLDER).mkdir(parents=True, exist_ok=True, mode=0o700)
    with isolation.isolated_worktree(place, commit, f"monitor-{uuid.uuid4().hex[:8]}") as made:
        restore_inputs(made)
        report = watch(made, f"{name}/{version.version}", days, limits)
    (place / PAGE).write_text(monitor_page(report, limits), encoding="utf-8")
    for line in report.lines():
        get_run_logger().info(line)
    create_markdown_artifact(_markdown(report, place / PAGE), key="monitor", description=report.model)
    if not report.alerts:
        return report.alerts
    resource = {"prefect.resource.id": f"embedding-foundry.model.{name}"}
    emit_event(DRIFT_EVENT, resource=resource, payload={"alerts": report.alerts})
    return Failed(name="Drifted", message="; ".join(report.alerts))


def restore_inputs(made: Path) -> None:
    """Check out what the monitor reads of the worktree's outputs: prepare's tables and the first dense teacher.

    Raises:
        UserError: they are not in DVC's cache.
    """
    teacher = next(iter(load_config(made / "params.yaml").retrieve.dense))
    for path in ("outputs/prepare", f"outputs/fetch/models/{teacher}"):
        try:
            run_dvc(made, "checkout", "--quiet", "--force", path)
        except UserError as problem:
            raise UserError(f"{problem}; {path} of the production version is not in DVC's cache: dvc fetch") from None


def _markdown(report: Watch, page: Path) -> str:
    lines = "\n".join(f"- {line}" for line in report.lines())
    return f"## {report.model}\n\n{lines}\n\nThe page: {page}\n"
