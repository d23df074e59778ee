"""Parameter files: every recipe is valid; a missing, broken or empty file is named."""

import pytest

from components.base.errors import UserError
from components.config import load_config, parse_config
from tests.samples import ROOT


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_recipe_is_valid(path):
    load_config(path)


@pytest.mark.parametrize("raw", [None, 5, []])
def test_a_file_without_keys_is_refused(raw):
    with pytest.raises(UserError, match=r"^params\.yaml: must hold keys with values"):
        parse_config(raw, "params.yaml")


def test_a_missing_or_broken_file_is_named(tmp_path):
    path = tmp_path / "params.yaml"
    with pytest.raises(UserError, match="no such parameter file"):
        load_config(path)
    path.write_text("a: [", encoding="utf-8")
    with pytest.raises(UserError, match="not valid YAML"):
        load_config(path)
    path.write_bytes(b"seed: \xff")
    with pytest.raises(UserError, match="not UTF-8 at byte 6"):
        load_config(path)


def test_a_key_given_twice_is_refused(tmp_path):
    """YAML would keep the last one without a word."""
    path = tmp_path / "params.yaml"
    path.write_text("seed: 1\ntrain: {steps: 3}\ntrain: {negatives: 2}\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"key 'train' is given twice .*line 3"):
        load_config(path)
