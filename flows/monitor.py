"""Watch the production model by the queries it is asked (docs/operations.md, After promotion).

    foundry monitor

An alert ends the flow run as Failed with the name Drifted, and is an event, `embedding-foundry.drift`, for automations.
`foundry setup` makes one that starts the weekly re-mining; it is off until you turn it on in Prefect's UI.
"""

from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.events import emit_event
from prefect.states import Failed

from components.serving.monitor import Limits, Watch, monitor_page, watch
from components.tracking.registry import DEFAULT_NAME, PRODUCTION

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
    report = watch(place, f"{name}/{PRODUCTION}", days, limits)
    (place / PAGE).write_text(monitor_page(report, limits), encoding="utf-8")
    for line in report.lines():
        get_run_logger().info(line)
    create_markdown_artifact(_markdown(report, place / PAGE), key="monitor", description=report.model)
    if not report.alerts:
        return report.alerts
    resource = {"prefect.resource.id": f"embedding-foundry.model.{name}"}
    emit_event(DRIFT_EVENT, resource=resource, payload={"alerts": report.alerts})
    return Failed(name="Drifted", message="; ".join(report.alerts))


def _markdown(report: Watch, page: Path) -> str:
    lines = "\n".join(f"- {line}" for line in report.lines())
    return f"## {report.model}\n\n{lines}\n\nThe page: {page}\n"
