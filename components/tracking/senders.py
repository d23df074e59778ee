"""One sender per kind of journal event: the MLflow calls for it. All of them are idempotent."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from components.tracking.journal import Events


def send_params(client: Any, run_id: str, params: dict[str, str]) -> None:
    from mlflow.entities import Param

    items = [Param(_name(key), value[:6000]) for key, value in sorted(params.items())]
    for first in range(0, len(items), 100):
        client.log_batch(run_id, params=items[first : first + 100])


def send_inputs(client: Any, run_id: str, inputs: list[dict[str, str]]) -> None:
    from mlflow.entities import DatasetInput, InputTag

    from components.tracking.dataset import dvc_dataset  # imports mlflow, which is slow; stages must not import it

    datasets = [
        DatasetInput(
            dvc_dataset(item), [InputTag("mlflow.data.context", "input"), InputTag("dvc.stage", item["stage"])]
        )
        for item in inputs
    ]
    if datasets:
        client.log_inputs(run_id, datasets)


def send_metrics(client: Any, run_id: str, events: Events) -> None:
    from mlflow.entities import Metric

    points = [
        Metric(_name(name), value, event["time"], event["step"])
        for event in events
        for name, value in event["values"].items()
    ]
    for first in range(0, len(points), 1000):
        client.log_batch(run_id, metrics=points[first : first + 1000])


def _send_metrics(client: Any, run_id: str, folder: Path, events: Events) -> None:
    send_metrics(client, run_id, events)


def _send_stage(client: Any, run_id: str, folder: Path, events: Events) -> None:
    """Send a stage's events from its pipeline's journal: its state, and at the end its metrics.

    The last stage of a dvc ends the run, see components/tracking/dvc_run.py.
    """
    for event in events:
        client.set_tag(run_id, f"stage.{event['name']}", event["status"])
        values = {f"{event['name']}/{name}": value for name, value in event.get("metrics", {}).items()}
        send_metrics(client, run_id, [{"values": values, "time": event["time"], "step": 0}])
        if event.get("last"):
            client.set_terminated(run_id, event["status"], event["time"])
        elif event["status"] == "RUNNING":
            client.update_run(run_id, status="RUNNING")


def _send_summary(client: Any, run_id: str, folder: Path, events: Events) -> None:
    from components.tracking.describe_run import describe_run
    from components.tracking.view import save_view

    save_view(client, client.get_run(run_id).info.experiment_id)
    for event in events:
        send_metrics(client, run_id, [{"values": event["reused_metrics"], "time": event["time"], "step": 0}])
        send_inputs(client, run_id, event["inputs"])
        describe_run(client, run_id, event)


def _send_tags(client: Any, run_id: str, folder: Path, events: Events) -> None:
    for event in events:
        for name, value in event["values"].items():
            client.set_tag(run_id, name, value)


def _send_artifact(client: Any, run_id: str, folder: Path, events: Events) -> None:
    for event in events:
        where = Path(event["path"]).parent.as_posix()
        client.log_artifact(run_id, str(folder / "files" / event["path"]), None if where == "." else where)


def _send_model(client: Any, run_id: str, folder: Path, events: Events) -> None:
    from components.tracking.registry import register_version

    for event in events:
        register_version(client, run_id, folder / "files", event["request"])


def _send_end(client: Any, run_id: str, folder: Path, events: Events) -> None:
    client.set_terminated(run_id, events[-1]["status"], events[-1]["time"])


def _send_start(client: Any, run_id: str, folder: Path, events: Events) -> None:
    """No-op: the run has already been created."""


SENDERS: dict[str, Callable[[Any, str, Path, Events], None]] = {
    "start": _send_start,
    "metrics": _send_metrics,
    "tags": _send_tags,
    "artifact": _send_artifact,
    "model": _send_model,
    "stage": _send_stage,
    "summary": _send_summary,
    "end": _send_end,
}


def _name(text: str) -> str:
    """Replace characters that MLflow does not allow in parameter and metric names."""
    return "".join(c if c.isalnum() or c in "_-. /:" else "_" for c in text)[:250]
