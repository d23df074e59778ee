"""Recipes that extend another: merged key by key, keys removed, every wrong name in one line."""

import re
from pathlib import Path

import pytest
import yaml

from components.base.errors import UserError
from components.config import read_parameters

BASE = """
seed: 1
train: {steps: 3, lora: {rank: 16, alpha: 32}, matryoshka: [64, 32]}
retrieve: {bm25: {k1: 1.5}}
"""


@pytest.fixture
def recipes(tmp_path: Path) -> Path:
    folder = tmp_path / "recipes"
    folder.mkdir()
    (folder / "base.yaml").write_text(BASE, encoding="utf-8")
    return folder


def write(recipes: Path, name: str, text: str) -> Path:
    file = recipes / f"{name}.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def refusal(file: Path) -> str:
    with pytest.raises(UserError) as caught:
        read_parameters(file)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{file}: ")
    return str(caught.value)


def test_mappings_merge_lists_and_values_replace_null_is_a_value(recipes: Path) -> None:
    file = write(
        recipes, "own", "extends: base\nretrieve: {bm25: null}\ntrain: {lora: {rank: 8}, matryoshka: [8], alpha: 1}"
    )
    values = read_parameters(file)
    assert values == {
        "seed": 1,
        "train": {"steps": 3, "lora": {"rank": 8, "alpha": 32}, "matryoshka": [8], "alpha": 1},
        "retrieve": {"bm25": None},
    }
    assert list(values) == ["seed", "train", "retrieve"], "the order of the base"
    assert list(values["train"]) == ["steps", "lora", "matryoshka", "alpha"]


def test_a_chain_and_removed_keys(recipes: Path) -> None:
    write(recipes, "middle", "extends: base\nremove: [train.steps, retrieve]\nseed: 2")
    file = write(recipes, "own", "extends: middle\nremove: [train.lora]\ntrain: {lora: {dropout: 0.5}}")
    assert read_parameters(file) == {"seed": 2, "train": {"lora": {"dropout": 0.5}, "matryoshka": [64, 32]}}


def test_a_removal_leaves_what_a_yaml_anchor_shares(recipes: Path) -> None:
    write(recipes, "base", "a: &a {x: {y: 1, z: 2}}\nb: *a")
    assert read_parameters(write(recipes, "own", "extends: base\nremove: [a.x.y]")) == {
        "a": {"x": {"z": 2}},
        "b": {"x": {"y": 1, "z": 2}},
    }


def test_an_unknown_base_is_named_with_the_nearest(recipes: Path) -> None:
    message = refusal(write(recipes, "own", "extends: bass"))
    assert "extends: no recipe 'bass'" in message
    assert "did you mean base? there are base, own" in message
    assert "no recipe '../base'" in refusal(write(recipes, "own", "extends: ../base"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("extends: [base]", "extends: must be the name of one recipe"),
        ("extends: base\nremove: train.steps", "remove: must be a list of keys"),
        ("extends: base\nremove: [train.stepz]", "remove: base has no train.stepz"),
        ("extends: base\nremove: [seed.x]", "remove: base has no seed.x"),
        ("remove: [seed]\nseed: 1", "remove: goes with extends"),
        ("extends: base\ntrain: {steps: 1}\ntrain: {steps: 2}", "key 'train' is given twice"),
    ],
)
def test_wrong_lines_of_an_overlay(recipes: Path, text: str, message: str) -> None:
    assert message in refusal(write(recipes, "own", text))


def test_a_circle_is_shown(recipes: Path) -> None:
    write(recipes, "one", "extends: two")
    file = write(recipes, "two", "extends: one")
    with pytest.raises(UserError, match=r"extends: circular, two -> one -> two; end the chain"):
        read_parameters(file)
    assert "circular, self -> self" in refusal(write(recipes, "self", "extends: self"))


def test_params_yaml_itself_may_not_extend(recipes: Path) -> None:
    """DVC reads every section of it, and would miss a change of the base."""
    file = recipes.parent / "params.yaml"
    file.write_text("extends: base", encoding="utf-8")
    assert "put the lines in recipes/NAME.yaml" in refusal(file)


def test_anchors_and_merge_keys_are_no_duplicates(recipes: Path) -> None:
    text = "x: {y: &a {<<: &b {k: 1, l: 1}, k: 2}}\nc: {<<: *a, k: 3}\nd: {<<: [*a, *b], l: 4}"
    assert read_parameters(write(recipes, "own", text)) == yaml.safe_load(text)


def test_merged_keys_are_no_repeated_ones_and_an_error_shows_its_line(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text("a: &a {k: 1}\nb: &b\n  <<: *a\n  k: 2\nc:\n  <<: *b\n  k: 3\n")
    assert read_parameters(file) == {"a": {"k": 1}, "b": {"k": 2}, "c": {"k": 3}}
    for text in ("a: {<<: {k: 1, k: 2}}", "seed: 1\na: [k"):
        file.write_text(text)
        with pytest.raises(UserError, match=re.escape(text.splitlines()[-1])):
            read_parameters(file)
