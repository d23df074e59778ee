"""Load or download model versions from the registry; production must have passed the gate.

model = load_production()
vectors = model.encode_query(["is the sky blue"], prompt_name="boolq")
"""

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.tracking.registry import DEFAULT_NAME, PRODUCTION, find_version, refuse_ungated, registry_client

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

VERSIONS = Path(".cache") / "versions"


def load_production(name: str = DEFAULT_NAME, root: Path | None = None) -> "SentenceTransformer":
    """The production version as a SentenceTransformer; its prompts hold every task's instruction and shots.

    root: the checkout whose registry is used if MLFLOW_TRACKING_URI is not set; the current folder by default.

    Raises:
        UserError: there is no production version, or it has no gate tag.
    """
    return load_version(name, PRODUCTION, root, gated=True)


def load_version(name: str, which: str, root: Path | None = None, gated: bool = False) -> "SentenceTransformer":
    """Any version (number or alias) as a SentenceTransformer; `gated` rejects one without a gate tag.

    `encode_query` without `prompt_name` takes the prompt of the model's only task; where there are several it warns.
    """
    client = registry_client(root or Path.cwd())
    version = find_version(client, name, which)
    if gated:
        refuse_ungated(version)
    from components.model.prompted import PromptedTransformer

    with tempfile.TemporaryDirectory() as scratch:
        return PromptedTransformer(str(_download(version, Path(scratch))))


def keep_version(root: Path, name: str, which: str) -> Path:
    """The folder of a version (number or alias) below VERSIONS, downloaded once; relative to `root`.

    Raises:
        UserError: there is no such version, or `which` is production and has not passed the gate.
    """
    version = find_version(registry_client(root), name, which)
    if which == PRODUCTION:
        refuse_ungated(version)
    folder = VERSIONS / f"{name}-{version.version}"
    if not (root / folder).exists():
        draft = (root / folder).with_suffix(".draft")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        _download(version, draft).rename(root / folder)
        shutil.rmtree(draft)
    return folder


def _download(version: Any, to: Path) -> Path:
    """Download a version's files below `to`; returns the folder that sentence-transformers reads."""
    import mlflow

    place = mlflow.artifacts.download_artifacts(f"models:/{version.name}/{version.version}", dst_path=str(to))
    return Path(place) / "artifacts" / "model"
