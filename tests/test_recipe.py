"""The command that takes a recipe."""

import shutil

import pytest

from components.config import load_config
from components.recipe import main
from tests.samples import ROOT


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    shutil.copytree(ROOT / "recipes", tmp_path / "recipes")
    shutil.copyfile(ROOT / "params.yaml", tmp_path / "params.yaml")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_recipe_with_values_on_top(checkout):
    assert main(["mistral-7b-8gpu", "train.steps=50"]) == 0
    assert load_config(checkout / "params.yaml").train.steps == 50


def test_a_wrong_call_is_one_line_and_exit_1(checkout, capsys):
    before = (checkout / "params.yaml").read_bytes()
    for arguments in (["nothing"], ["starter", "train.stepz=5"], ["starter", "train.steps"]):
        assert main(arguments) == 1
        said = capsys.readouterr().err
        assert said.startswith("error: ")
        assert said.count("\n") == 1
    assert (checkout / "params.yaml").read_bytes() == before


def test_help_is_usage(checkout, capsys):
    for arguments in ([], ["--help"]):
        assert main(arguments) == 2
        assert "NAME [KEY=VALUE ...]" in capsys.readouterr().err
