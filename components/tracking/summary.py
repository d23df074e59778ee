"""Content of a pipeline's MLflow run: recipe, data, every stage's metrics, and which stages it reused.

A stage that DVC took from its cache has no run below this one. It belongs to the pipeline all the same: its metrics are
here, and the tag `reused.STAGE` is the run that made its output.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.config import load_config
from components.config.flatten import flatten
from components.config.recipe_name import recipe_name
from components.tracking.describe import origin_tags, system_tags
from components.tracking.journal import RunStart
from components.tracking.store import EXPERIMENT, tracking_uri
from components.tracking.versions import current_stages, locked_outputs

DATA = "outputs/prepare"


def pipeline_start(
    root: Path, source: str, kind: str = "pipeline", title: str = "", tags: Mapping[str, str] | None = None
) -> RunStart:
    """The first event of a pipeline's run: all parameters, the recipe, the data's name, who and with which code.

    Args:
        source: the command that runs it.
        kind: the tag foundry.kind, which distinguishes pipelines from stages.
        title: the run's name; the recipe's when empty.
    """
    values = load_config(root / "params.yaml").model_dump(mode="json", by_alias=True)
    recipe = recipe_name(root)
    about = {
        "foundry.kind": kind,
        "recipe": recipe,
        "data": " ".join(sorted(values["fetch"]["sources"])),
        **origin_tags(root, source),
        **system_tags(),
        **(tags or {}),
    }
    return RunStart(tracking_uri(root), EXPERIMENT, title or recipe, tags=about, params=flatten(values))


def summarise(root: Path, stages: Mapping[str, Mapping[str, Any]], finished: bool) -> dict[str, Any]:
    """The fields of the `summary` event: what ran, what was reused, and the metrics of both.

    Args:
        stages: those that ran, from the journal; see `journal_files.stage_events`.
        finished: whether the run ended well; else nothing says what it would have reused.
    """
    reused = {name: md5 for name, md5 in current_stages(root).items() if name not in stages} if finished else {}
    data = locked_outputs(root).get(DATA)
    return {
        "ran": {name: [event["status"], event["time"] - event["began"]] for name, event in stages.items()},
        "reused": reused,
        "reused_metrics": named_metrics({name: metrics_of(root / "outputs" / name) for name in reused}),
        "inputs": [{"name": "prepare", "path": DATA, "md5": data["md5"], "stage": "prepare"}] if data else [],
    }


def named_metrics(by_stage: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """`STAGE/METRIC`; MLflow groups charts by the part before the slash."""
    return {f"{stage}/{name}": value for stage, metrics in by_stage.items() for name, value in metrics.items()}


def metrics_of(folder: Path) -> dict[str, float]:
    """metrics.json of a stage's folder; empty if there is none."""
    file = folder / "metrics.json"
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.exists() else {}
