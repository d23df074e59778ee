"""Python's way to the model in production: refuses what has not passed the gate.

from components.tracking.load import load_production
model = load_production()
vectors = model.encode_query(["is the sky blue"], prompt_name="boolq")

Many queries of one task: components.model.shared_prefix.encode_task(model, texts, "boolq") puts the shots through once.
"""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from components.tracking.registry import PRODUCTION, find_version, refuse_ungated, registry_client

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

DEFAULT_NAME = "embedding-foundry"


def load_production(name: str = DEFAULT_NAME, root: Path | None = None) -> "SentenceTransformer":
    """The production version as a SentenceTransformer; its prompts hold every task's instruction and shots.

    root: the checkout whose registry is meant when MLFLOW_TRACKING_URI is not set; the current folder by default.

    Raises:
        UserError: nothing is in production, or what is there has no gate tag.
    """
    return load_version(name, PRODUCTION, root, gated=True)


def load_version(name: str, which: str, root: Path | None = None, gated: bool = False) -> "SentenceTransformer":
    """Any version (number or alias) as a SentenceTransformer; `gated` refuses one without a gate tag."""
    client = registry_client(root or Path.cwd())
    version = find_version(client, name, which)
    if gated:
        refuse_ungated(version)
    import mlflow
    from sentence_transformers import SentenceTransformer

    with tempfile.TemporaryDirectory() as scratch:
        place = mlflow.artifacts.download_artifacts(f"models:/{name}/{version.version}", dst_path=scratch)
        return SentenceTransformer(str(Path(place) / "artifacts" / "model"))
