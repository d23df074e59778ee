"""The plan asks the hub for every pin, and tells what is missing before work starts."""

from unittest.mock import Mock

import httpx
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError, RevisionNotFoundError

from components.config import load_config
from components.plan.devices import GPUS
from components.plan.hub import hub_problems
from components.plan.report import plan_run
from tests.samples import ROOT

CONFIG = load_config(ROOT / "recipes" / "mistral-7b.yaml")
GONE = "cfli/bge-full-data"


@pytest.fixture
def hub(monkeypatch):
    """An empty cache and a hub that lost the revision of one repository; the list of what was asked."""
    asked = []

    def snapshot_download(*arguments, **options):
        assert options["local_files_only"]
        raise LocalEntryNotFoundError("not in the cache")

    def repo_info(self, repo, **options):
        asked.append((repo, options["revision"], options["repo_type"]))
        if repo == GONE:
            raise RevisionNotFoundError("gone", response=Mock())

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    monkeypatch.setattr("huggingface_hub.HfApi.repo_info", repo_info)
    return asked


def test_a_revision_that_is_gone_is_told_and_each_pin_is_asked_for_once(hub):
    found = hub_problems(CONFIG)
    assert len(found) == 1
    assert f"{GONE} at" in found[0]
    assert found[0].endswith("this revision is gone; choose another commit")
    assert len(hub) == len(set(hub))
    student = CONFIG.fetch.models["student"].origin
    assert (student.repo, student.revision, "model") in hub


@pytest.mark.parametrize("error", [ConnectionError("no route\nto host"), httpx.ConnectError("no route\nto host")])
def test_a_hub_out_of_reach_is_told_once(hub, monkeypatch, error):
    def repo_info(self, repo, **options):
        raise error

    monkeypatch.setattr("huggingface_hub.HfApi.repo_info", repo_info)
    found = hub_problems(CONFIG)
    assert len(found) == 1
    assert "the hub cannot be reached" in found[0]
    assert "\n" not in found[0]


def test_what_the_cache_holds_is_not_asked_for(hub, monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *arguments, **options: str(tmp_path))
    assert hub_problems(CONFIG) == []
    assert hub == []


def test_the_plan_asks_only_when_told_to(hub):
    recipe = ROOT / "recipes" / "mistral-7b.yaml"
    plan_run(recipe, ROOT, GPUS["H200"], 1, None, None, hub=False)
    assert hub == []
    report = plan_run(recipe, ROOT, GPUS["H200"], 1, None, None, hub=True)
    assert any(line.startswith("fetch.sources.msmarco.origin.revision") for line in report.wrong)
