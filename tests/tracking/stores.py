"""MLflow stores for tests: an empty one, and versions with an evaluation beside them."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from components.tracking.store import EXPERIMENT, connect, experiment_id

NAME = "embedding-foundry"


def make_empty_store(file: Path) -> None:
    """A sqlite file with MLflow's tables."""
    connect(f"sqlite:///{file}").search_experiments()


def add_version(uri: str, scratch: Path, quality: float, seed: int, tags: dict[str, str] | None = None) -> str:
    """Register a version whose trained model scores about `quality` on two tasks (base: 0.4); returns its number."""
    client = connect(uri)
    run = client.create_run(experiment_id(client, uri, EXPERIMENT), run_name="register")
    folder = scratch / f"evaluation-{run.info.run_id}"
    write_evaluation(folder, quality, seed)
    client.log_artifacts(run.info.run_id, str(folder), "evaluation")
    ensure_model(client)
    made = client.create_model_version(NAME, run.info.artifact_uri, run.info.run_id, tags=tags)
    return str(made.version)


def write_evaluation(folder: Path, quality: float, seed: int) -> None:
    """scores.parquet and examples.parquet of the evaluate stage: 200 examples of two tasks."""
    folder.mkdir(exist_ok=True)
    rng, scores, examples = np.random.default_rng(seed), [], []
    for model, level in (("base", 0.4), ("trained", quality)):
        for task in ("boolq", "sts"):
            values = np.clip(level + 0.05 * rng.standard_normal(200), 0, 1)
            scores.append((model, task, "Retrieval", "ndcg_at_10", float(values.mean())))
            examples += [(model, task, str(i), float(value), 0) for i, value in enumerate(values)]
    columns = ["model", "task", "category", "metric", "score"]
    pl.DataFrame(scores, schema=columns, orient="row").write_parquet(folder / "scores.parquet")
    columns = ["model", "task", "example_id", "score", "replicate"]
    pl.DataFrame(examples, schema=columns, orient="row").write_parquet(folder / "examples.parquet")


def ensure_model(client: Any) -> None:
    """The registered model, made on first use."""
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(NAME)
    except MlflowException as problem:
        if problem.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
