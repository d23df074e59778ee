"""The plan asks the hub for everything the recipe takes, and tells what is missing before work starts."""

import pytest

from components.config import Config, load_config
from components.data.hub_files import check_hub_files
from components.plan.devices import GPUS
from components.plan.hub import check_hub
from components.plan.report import plan_run
from tests.hub import Hub
from tests.hub_recipe import add_recipe
from tests.samples import ROOT

RECIPE = ROOT / "recipes" / "mistral-7b.yaml"
CONFIG = load_config(RECIPE)


@pytest.fixture
def full(hub: Hub) -> Hub:
    """A hub that has every file of the recipe, of a byte each."""
    add_recipe(hub, CONFIG)
    return hub


def test_every_path_of_the_recipe_is_found_and_nothing_is_downloaded(full: Hub) -> None:
    report = check_hub(CONFIG)
    assert report.problems == []
    assert len(report.table.splitlines()) == 2 + len(CONFIG.fetch.models) + len(CONFIG.fetch.sources) + 1
    assert full.downloads() == []
    asked = [one for one in full.asked if one.startswith("GET /api/datasets/cfli")]
    assert len(asked) == 2  # 30 sources, one list and one access check


@pytest.mark.slow
def test_an_alternative_is_of_its_own_source_only(full: Hub) -> None:
    files = full.repos["dataset", "cfli/bge-full-data"]
    files["data/msmarco-00000-of-00001.parquet"] = files.pop("data/msmarco_passage-00000-of-00001.parquet")
    assert check_hub(CONFIG).problems == []
    taken = [name for item in check_hub_files(CONFIG.fetch) for name in item.files if name in files]
    assert sorted(taken) == sorted(files)  # each file by one source
    del files["data/nq-00000-of-00001.parquet"]
    (line,) = check_hub(CONFIG).problems
    assert line.startswith("fetch.sources.nq.origin.path: ")


def test_all_problems_are_told_at_once(full: Hub) -> None:
    full.gated.add("mistralai/Mistral-7B-v0.1")
    full.gone.add("stanfordnlp/snli")
    del full.repos["dataset", "cfli/bge-full-data"]["data/nq-00000-of-00001.parquet"]
    report = check_hub(CONFIG)
    assert [line.partition(": ")[0] for line in report.problems] == [
        "fetch.models.student.origin.repo",
        "fetch.sources.nq.origin.path",
        "fetch.sources.snli.origin.revision",
    ]
    assert "nearest: data/" in report.problems[1]
    assert report.table.count("see below") == 3


def test_a_hub_out_of_reach_is_told_once(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    (line,) = check_hub(CONFIG).problems
    assert "the hub cannot be reached" in line
    assert "\n" not in line


@pytest.mark.slow
def test_the_plan_asks_only_when_told_to(hub: Hub) -> None:
    plan_run(RECIPE, ROOT, GPUS["H200"], 1, None, None, hub=False)
    assert hub.asked == []
    report = plan_run(RECIPE, ROOT, GPUS["H200"], 1, None, None, hub=True)
    assert any(line.startswith("fetch.sources.nq.origin.repo") for line in report.wrong)
    assert "| models.student | mistralai/Mistral-7B-v0.1 | 0 |" in report.text


def test_a_recipe_without_the_hub_asks_nothing(hub: Hub) -> None:
    config: Config = load_config(ROOT / "recipes" / "starter.yaml")
    assert (check_hub(config).table, hub.asked) == ("", [])
