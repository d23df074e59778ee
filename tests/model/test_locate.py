"""locate_model: the folder itself, the hub snapshot it points to, or one clear line."""

import json
from pathlib import Path
from typing import Any

import pytest

from components.base.errors import UserError
from components.model.locate import locate_model


def test_a_model_in_its_own_folder(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert locate_model(tmp_path) == tmp_path


def test_a_pointer_to_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hub.json").write_text(json.dumps({"repo": "some/model", "revision": "abc"}))

    def snapshot_download(repo: str, revision: str, local_files_only: bool) -> str:
        assert (repo, revision, local_files_only) == ("some/model", "abc", True)
        return str(tmp_path / "snapshot")

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    assert locate_model(tmp_path) == tmp_path / "snapshot"


def test_a_snapshot_that_left_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub.errors import LocalEntryNotFoundError

    def snapshot_download(*arguments: Any, **options: Any) -> str:
        raise LocalEntryNotFoundError("gone")

    (tmp_path / "hub.json").write_text(json.dumps({"repo": "some/model", "revision": "abc"}))
    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    with pytest.raises(UserError, match="some/model at abc is not in the hub's cache; run the fetch stage again"):
        locate_model(tmp_path)


def test_no_model(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"student: no model here; declare fetch\.models\.student"):
        locate_model(tmp_path / "student")
