"""Taking a recipe: only a valid one, and never over edits that would be lost."""

import pytest

from components.base.errors import UserError
from components.config import load_config
from components.recipe import main, take_recipe
from components.tracking.runs import flatten
from tests.samples import ROOT


@pytest.fixture
def checkout(tmp_path):
    (tmp_path / "recipes").mkdir()
    starter = (ROOT / "params.yaml").read_text(encoding="utf-8")
    (tmp_path / "recipes" / "starter.yaml").write_text(starter, encoding="utf-8")
    (tmp_path / "recipes" / "other.yaml").write_text(starter.replace("seed: ", "seed: 1"), encoding="utf-8")
    (tmp_path / "params.yaml").write_text(starter, encoding="utf-8")
    return tmp_path


def test_a_recipe_becomes_the_parameters(checkout):
    take_recipe("other", checkout)
    assert (checkout / "params.yaml").read_bytes() == (checkout / "recipes" / "other.yaml").read_bytes()


def test_own_edits_are_not_overwritten(checkout):
    (checkout / "params.yaml").write_text("seed: 5", encoding="utf-8")
    with pytest.raises(UserError, match="edits of your own"):
        take_recipe("other", checkout)
    assert (checkout / "params.yaml").read_text(encoding="utf-8") == "seed: 5"


def test_an_unknown_or_broken_recipe_changes_nothing(checkout, monkeypatch, capsys):
    before = (checkout / "params.yaml").read_bytes()
    monkeypatch.chdir(checkout)
    assert main(["nothing"]) == 1
    assert "there are other, starter" in capsys.readouterr().err
    (checkout / "recipes" / "other.yaml").write_text("seed: x", encoding="utf-8")
    assert main(["other"]) == 1
    assert (checkout / "params.yaml").read_bytes() == before


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        (
            "mistral-7b-qlora-24gb",
            {
                "encoder.token_budget",
                "score.token_budget",
                "train.quantization",
                "train.batch_queries",
                "train.row_tokens",
                "train.steps",
                "train.lora.rank",
                "train.lora.alpha",
                "register.name",
            },
        ),
        (
            "mistral-7b-8gpu",
            {"evaluate.workers", "evaluate.scoring_processes", "train.row_tokens", "train.processes", "register.name"},
        ),
    ],
)
def test_siblings_differ_from_the_full_recipe_in_the_parameters_they_name_only(name, keys):
    full, sibling = (
        flatten(load_config(ROOT / "recipes" / f"{n}.yaml").model_dump(by_alias=True)) for n in ("mistral-7b", name)
    )
    assert {key for key in full.keys() | sibling.keys() if full.get(key) != sibling.get(key)} == keys
