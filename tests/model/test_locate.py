"""A model is found where it was fetched to, or where its pointer says; what is missing there is downloaded."""

import json
import logging
from pathlib import Path

import pytest

from components.base.errors import UserError
from components.model.locate import locate_model
from tests.hub import REVISION, Hub


def test_a_model_in_its_own_folder(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert locate_model(tmp_path) == tmp_path


@pytest.fixture
def pointed(tmp_path: Path, hub: Hub) -> Path:
    """The folder of a model whose pointer came from another machine."""
    hub.add("model", "some/model", {"config.json": b"{}", "model.safetensors": b"x", "pytorch_model.bin": b"y"})
    folder = tmp_path / "models" / "student"
    folder.mkdir(parents=True)
    pointer = {"repo": "some/model", "revision": REVISION, "files": ["config.json", "model.safetensors"]}
    (folder / "hub.json").write_text(json.dumps(pointer))
    return folder


def test_a_machine_with_the_pointer_alone_downloads_the_pinned_files(
    pointed: Path, hub: Hub, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="components"):
        found = [locate_model(pointed) for _ in range(2)]
    assert sorted(file.name for file in found[0].iterdir()) == ["config.json", "model.safetensors"]
    assert found[1] == found[0]
    assert len(hub.downloads()) == 2
    (line,) = [record.getMessage() for record in caplog.records if record.name.startswith("components")]
    assert line.startswith(f"some/model at {REVISION} is not in the hub's cache on this machine; downloading it")


def test_a_hub_that_refuses_is_told_in_one_line(pointed: Path, hub: Hub) -> None:
    hub.gated.add("some/model")
    with pytest.raises(UserError, match=r"^fetch\.models\.student\.origin\.repo: some/model: access is gated; [^\n]*$"):
        locate_model(pointed)


def test_a_machine_without_the_network_needs_the_cache(
    pointed: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match=r"the hub cannot be reached for some/model at .*point HF_HOME at a cache"):
        locate_model(pointed)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    locate_model(pointed)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert (locate_model(pointed) / "config.json").is_file()


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no model here; declare fetch\.models\.none"):
        locate_model(tmp_path / "none")
