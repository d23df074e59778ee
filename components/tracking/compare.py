"""Pipelines beside each other in the terminal (`foundry runs`): what MLflow's saved view shows."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from components.base.errors import UserError
from components.tracking.headlines import headline_metrics
from components.tracking.registry import registry_client
from components.tracking.store import EXPERIMENT, tracking_uri, ui_address, view_link
from components.tracking.view import ONLY_PIPELINES

WIDTH = 24  # of a column; longer values are cut in the middle
MISSING = "-"


def compare_runs(root: Path, wanted: Sequence[str], last: int) -> list[str]:
    """The lines of a table: a column a pipeline, the newest first; a row for each headline metric and parameter.

    Parameters that are the same in all are left out. A difference to the newest run stands behind a metric.

    Args:
        wanted: MLflow run ids, ids under refs/runs, or beginnings of them; the newest `last` runs when empty.

    Raises:
        UserError: no such run, or none at all.
    """
    client = registry_client(root)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    found: list[Any] = []
    if experiment is not None:
        order, most = ["attributes.start_time DESC"], 1000 if wanted else last
        found = list(client.search_runs([experiment.experiment_id], ONLY_PIPELINES, order_by=order, max_results=most))
    chosen = [_find(found, name) for name in wanted] or found
    if experiment is None or not chosen:
        raise UserError("no pipeline has run here; start one: make run")
    rows = [*_about(chosen), *_metrics(chosen), *_parameters(chosen)]
    named = max(len(name) for name, _ in rows)
    lines = [
        "  ".join([name.ljust(named), *(_cut(cell).ljust(WIDTH) for cell in cells)]).rstrip() for name, cells in rows
    ]
    link = f"{ui_address(tracking_uri(root))}/{view_link(experiment.experiment_id)}"
    return [*lines, "", f"with charts, while `make ui` or your server runs: {link}"]


def _find(runs: Sequence[Any], name: str) -> Any:
    matching = [run for run in runs if run.info.run_id.startswith(name) or _identity(run).startswith(name)]
    if len(matching) != 1:
        what = "several pipelines begin so" if matching else "no such pipeline"
        raise UserError(f"{name}: {what}; `foundry runs` lists them")
    return matching[0]


def _identity(run: Any) -> str:
    return str(run.data.tags.get("git.run", run.info.run_id))


def _about(runs: Sequence[Any]) -> list[tuple[str, list[str]]]:
    def tag(name: str) -> list[str]:
        return [str(run.data.tags.get(name, MISSING)) for run in runs]

    started = [datetime.fromtimestamp(run.info.start_time / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC") for run in runs]
    rows = [
        ("run", [_identity(run) for run in runs]),
        ("started", started),
        ("status", [run.info.status for run in runs]),
        ("by", tag("mlflow.user")),
        ("code", [commit[:12] for commit in tag("mlflow.source.git.commit")]),
        ("recipe", tag("recipe")),
        ("data", tag("data")),
        ("data md5", [_data(run) for run in runs]),
    ]
    return rows


def _data(run: Any) -> str:
    inputs = run.inputs.dataset_inputs if run.inputs else []
    return str(inputs[0].dataset.digest) if inputs else MISSING


def _metrics(runs: Sequence[Any]) -> list[tuple[str, list[str]]]:
    by_run = [headline_metrics(run.data.metrics) for run in runs]
    names = dict.fromkeys(name for metrics in by_run for name in metrics)
    return [(name, [_value(metrics.get(name), by_run[0].get(name)) for metrics in by_run]) for name in names]


def _value(value: float | None, newest: float | None) -> str:
    """
    >>> _value(0.56, 0.5), _value(0.5, 0.5), _value(None, 0.5)
    ('0.56 (+0.06)', '0.5', '-')
    """
    if value is None:
        return MISSING
    difference = value - newest if newest is not None else 0.0
    return f"{value:.6g}" + (f" ({difference:+.4g})" if difference else "")


def _parameters(runs: Sequence[Any]) -> list[tuple[str, list[str]]]:
    names = sorted({name for run in runs for name in run.data.params})
    rows = [(name, [str(run.data.params.get(name, MISSING)) for run in runs]) for name in names]
    return [(name, cells) for name, cells in rows if len(set(cells)) > 1]


def _cut(text: str) -> str:
    """
    >>> _cut("short"), _cut("a value that is far too long to be shown")
    ('short', 'a value th...be shown')
    """
    half = (WIDTH - 3) // 2
    return text if len(text) <= WIDTH else f"{text[: WIDTH - 4 - half]}...{text[-half + 2 :]}"
