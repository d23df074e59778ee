"""What the hub's client raises becomes one line with the parameter, the cause and the cure."""

import shutil
from pathlib import Path

import httpx2
import pytest

from components.base.errors import UserError
from components.base.hub import HubFile, HubRepo, HubUnreachableError, clear_errors, download, find_cached, list_files
from tests.hub import REVISION, Hub

REPO = HubRepo("dataset", "a/b", REVISION)


@pytest.mark.parametrize("error", [ConnectionError("no route\nto host"), httpx2.ConnectError("no route\nto host")])
def test_a_hub_that_cannot_be_reached(error: Exception) -> None:
    said = r"^k: the hub cannot be reached for a/b at .*no route to host"
    with pytest.raises(HubUnreachableError, match=said), clear_errors(REPO, "k"):
        raise error


def test_a_repository_or_revision_that_is_gone(hub: Hub) -> None:
    with pytest.raises(UserError, match=r"^k\.repo: a/b: no such repository; correct its name or log in$"):
        list_files(REPO, "k")
    hub.add("dataset", "a/b", {"x": b"x"})
    hub.gone.add("a/b")
    with pytest.raises(
        UserError, match=rf"^k\.revision: a/b at {REVISION}: this revision does not exist any more; choose another"
    ):
        list_files(REPO, "k")


def test_without_the_network_a_cache_without_the_list_tells_what_it_holds(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add("dataset", "a/b", {"x": b"xyz", "y": b"y"})
    download(REPO, "k", ["x"])
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert set(list_files(REPO, "k")) == {"x", "y"}
    (tmp_path / "hub-cache").rename(tmp_path / "older")  # what an earlier version of the hub's client left
    shutil.rmtree(next((tmp_path / "older").glob("*/trees")))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "older"))
    assert list_files(REPO, "k") == {"x": HubFile(3, cached=True)}
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "empty"))
    with pytest.raises(HubUnreachableError):
        list_files(REPO, "k")


def test_an_empty_cache_has_nothing(hub: Hub) -> None:
    assert find_cached(REPO, ["x"]) is None
    assert hub.asked == []
