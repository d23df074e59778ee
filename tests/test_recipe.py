"""Taking a recipe: only a valid one, and never over edits that would be lost."""

import pytest

from components.errors import UserError
from components.recipe import main, take_recipe
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
