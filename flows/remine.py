"""Re-mine hard negatives with the production model as an additional dense teacher, and train a new model.

    foundry remine

This is an isolated pipeline run with one more dense teacher, `production`, fused with the others. The production model
is stored below .cache/versions, so an unchanged one is downloaded and embedded only once.
"""

from pathlib import Path

from prefect import flow, get_run_logger

from components.tracking.load import keep_version
from components.tracking.registry import DEFAULT_NAME, PRODUCTION
from flows.pipeline import pipeline


@flow(name="remine")
def remine(name: str = DEFAULT_NAME, root: str = ".", alone: str = "") -> dict[str, str]:
    """Mine, train and register with the production model as one more teacher; returns the outcome per stage.

    alone: see `pipeline`.
    """
    place = Path(root).resolve()
    folder = keep_version(place, name, PRODUCTION)
    get_run_logger().info(f"teacher: {folder}")
    origin = {"kind": "local", "path": folder.as_posix(), "licence": "own"}
    parameters = {"fetch.models.production": {"origin": origin}, "retrieve.dense.production": {"task_prompts": True}}
    return pipeline(root=str(place), isolated=True, parameters=parameters, alone=alone)
