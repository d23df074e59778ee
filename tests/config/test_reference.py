"""The page and the schema of all parameters are up to date, name every one, and accept what is valid."""

import json
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft7Validator

from components.config.flatten import flatten
from components.config.recipes import SCHEMA_FILE
from components.config.reference import PAGE_FILE, editor_schema, parameters_page, write_reference
from components.config.whole import Config
from tests.samples import ROOT, small_parameters


@pytest.mark.parametrize(("file", "text"), [(PAGE_FILE, parameters_page()), (SCHEMA_FILE, editor_schema())])
def test_generated_files_are_up_to_date(file: str, text: str) -> None:
    assert (ROOT / file).read_text(encoding="utf-8") == text, "run: foundry parameters"


def test_every_parameter_says_what_it_does() -> None:
    schema = Config.model_json_schema()
    bare = [
        f"{model}.{name}"
        for model, node in schema["$defs"].items()
        for name, field in node["properties"].items()
        if "description" not in field and "$ref" not in field
    ]
    assert bare == []
    assert [model for model, node in schema["$defs"].items() if "description" not in node] == []


def test_the_page_has_every_key_of_a_recipe() -> None:
    page = parameters_page()
    for key in flatten(Config.model_validate(small_parameters()).model_dump(by_alias=True, include={"train", "mine"})):
        assert f"| `{key}` |" in page
    for key in ("seed", "fetch.sources.<name>.origin", "origin.sha256", "prepare.tasks.<name>.kind", "extends"):
        assert f"| `{key}` |" in page


@pytest.mark.parametrize("path", [ROOT / "params.yaml", *(ROOT / "recipes").glob("*.yaml")], ids=lambda path: path.stem)
def test_the_schema_accepts_every_recipe(path: Path) -> None:
    schema = json.loads(editor_schema())
    Draft7Validator.check_schema(schema)
    assert list(Draft7Validator(schema).iter_errors(yaml.safe_load(path.read_text(encoding="utf-8")))) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"trian": {}},
        {"train": {"stepz": 1}},
        {"train": {"steps": "many"}},
        {"encoder": {"device": "tpu"}},
        {"fetch": {"sources": {"a": {"origin": {"kind": "whel"}}}}},
    ],
)
def test_the_schema_refuses_unknown_keys_and_wrong_types(wrong: dict[str, object]) -> None:
    assert list(Draft7Validator(json.loads(editor_schema())).iter_errors(wrong))


def test_both_files_are_written(tmp_path: Path) -> None:
    assert write_reference(tmp_path) == ["docs/parameters.md", "docs/params.schema.json"]
    assert sorted(file.name for file in (tmp_path / "docs").iterdir()) == ["parameters.md", "params.schema.json"]
