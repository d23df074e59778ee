"""A run is named by the nearest recipe and what is changed in it."""

import shutil
from pathlib import Path

import pytest
import yaml

from components.config.recipe_name import recipe_name
from tests.samples import ROOT


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, "starter"),
        ({"steps": 50}, "starter + train.steps=50"),
        ({"steps": 50, "seed": 1, "alpha": 0.1, "clip_norm": 2}, "starter + 4 values"),
    ],
)
def test_the_nearest_recipe(tmp_path: Path, changes: dict[str, float], name: str) -> None:
    shutil.copytree(ROOT / "recipes", tmp_path / "recipes")
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    values["train"] |= changes
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values))
    assert recipe_name(tmp_path) == name
    (tmp_path / "params.yaml").write_text("a: 1\n")
    assert recipe_name(tmp_path) == "own"
