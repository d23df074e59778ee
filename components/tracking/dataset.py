"""MLflow dataset source for DVC-versioned files: MLflow shows path and md5, and can load the same bytes."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from mlflow.data.dataset_source import DatasetSource
from mlflow.data.dataset_source_registry import register_dataset_source
from mlflow.entities import Dataset


class DvcSource(DatasetSource):
    """A DVC-tracked file: repository (a path or git address), git revision, path and md5."""

    def __init__(self, path: str, md5: str, repo: str = ".", rev: str = "") -> None:
        self.path, self.md5, self.repo, self.rev = path, md5, repo, rev

    @staticmethod
    def _get_source_type() -> str:
        return "dvc"

    def load(self) -> str:
        """Fetch the bytes into a new temporary folder; returns the local path."""
        place = Path(tempfile.mkdtemp()) / Path(self.path).name
        revision = ["--rev", self.rev] if self.rev else []
        command = [sys.executable, "-m", "dvc", "get", self.repo, self.path, "-o", str(place), *revision]
        subprocess.run(command, check=True)
        return str(place)

    @staticmethod
    def _can_resolve(raw_source: Any) -> bool:
        return isinstance(raw_source, str) and raw_source.startswith("dvc://")

    @classmethod
    def _resolve(cls, raw_source: Any) -> "DvcSource":
        path, _, md5 = raw_source.removeprefix("dvc://").partition("?md5=")
        return cls(path, md5)

    def to_dict(self) -> dict[str, str]:
        return {"repo": self.repo, "rev": self.rev, "path": self.path, "md5": self.md5}

    @classmethod
    def from_dict(cls, source_dict: dict[str, str]) -> "DvcSource":
        return cls(source_dict["path"], source_dict["md5"], source_dict.get("repo", "."), source_dict.get("rev", ""))


register_dataset_source(DvcSource)  # type: ignore[arg-type]  # annotated as an instance, used as a class


def dvc_dataset(item: dict[str, str]) -> Dataset:
    """An input of `versions.stage_inputs` as an MLflow dataset; the digest is DVC's md5."""
    source = DvcSource(item["path"], item["md5"])
    return Dataset(item["path"], item["md5"], "dvc", json.dumps(source.to_dict()))
