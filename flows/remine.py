"""The model in production teaches its successor: its own hits become candidates to mine hard negatives from.

    python -m flows.remine

An isolated pipeline run with one more dense teacher, `production`, fused with the others. The production model is
kept below .cache/production by version, so an unchanged one is fetched and embedded only once.
"""

import shutil
import sys
from pathlib import Path

import typer
from prefect import flow, get_run_logger

from components.base.errors import UserError
from components.tracking.load import DEFAULT_NAME
from components.tracking.registry import PRODUCTION, find_version, refuse_ungated, registry_client
from flows.fallback import a_prefect_server
from flows.pipeline import pipeline


def keep_production(root: Path, name: str) -> Path:
    """Download the production version below `root`/.cache/production; returns its folder, relative to `root`.

    Raises:
        UserError: nothing is in production, or it has not passed the gate.
    """
    import mlflow

    version = find_version(registry_client(root), name, PRODUCTION)
    refuse_ungated(version)
    folder = Path(".cache") / "production" / f"{name}-{version.version}"
    if not (root / folder).exists():
        draft = (root / folder).with_suffix(".draft")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        place = mlflow.artifacts.download_artifacts(f"models:/{name}/{version.version}", dst_path=str(draft))
        (Path(place) / "artifacts" / "model").rename(root / folder)
        shutil.rmtree(draft)
    return folder


@flow(name="remine")
def remine(name: str = DEFAULT_NAME, root: str = ".") -> dict[str, str]:
    """Mine, train and register with the production model as one more teacher; returns per stage what happened."""
    place = Path(root).resolve()
    folder = keep_production(place, name)
    get_run_logger().info(f"teacher: {folder}")
    origin = {"kind": "local", "path": folder.as_posix(), "licence": "own"}
    parameters = {"fetch.models.production": {"origin": origin}, "retrieve.dense.production": {"task_prompts": True}}
    return pipeline(root=str(place), isolated=True, parameters=parameters)


def main() -> None:
    """Run it in the current folder."""
    try:
        with a_prefect_server():
            results = remine()
    except (UserError, RuntimeError) as problem:
        print(f"error: {problem}", file=sys.stderr)
        raise typer.Exit(1) from None
    for stage, how in results.items():
        print(f"{stage:20} {how}")


if __name__ == "__main__":
    typer.run(main)
