"""Smoke test after the alias swap: load the version like a consumer and compare its vectors with the stored ones."""

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from components.tracking.registry import PRODUCTION, RefusedError, find_version

if TYPE_CHECKING:
    from mlflow import MlflowClient

TOLERANCE = 1e-3  # stored vectors have six decimals; another CPU or GPU moves the last few


def smoke_test(client: "MlflowClient", name: str, which: str = PRODUCTION) -> float:
    """Load a version like a consumer and embed the stored texts; returns the largest difference to the stored vectors.

    Raises:
        RefusedError: the vectors differ by more than 1e-3, or the version cannot be loaded.
    """
    import mlflow

    version = find_version(client, name, which)
    with tempfile.TemporaryDirectory() as scratch:
        stored = json.loads(Path(client.download_artifacts(version.run_id, "reference.json", scratch)).read_text())
    try:
        model = mlflow.pyfunc.load_model(f"models:/{name}/{version.version}")
        documents = model.predict(stored["texts"])
        queries = model.predict(stored["texts"], params={"side": "query", "task": stored["task"]})
    except Exception as problem:
        raise RefusedError(f"{name} version {version.version} does not load: {problem}") from problem
    worst = max(
        float(np.abs(np.array(ours) - np.array(stored[side])).max())
        for side, ours in (("documents", documents), ("queries", queries))
    )
    if not worst < TOLERANCE:
        raise RefusedError(f"{name} version {version.version}: vectors differ from the stored ones by {worst:.2g}")
    return worst
