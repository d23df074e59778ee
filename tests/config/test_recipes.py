"""Recipes by name: taken only when valid and never over edits that would be lost; listed, shown, copied."""

from pathlib import Path

import pytest
import yaml
from dvc.utils.serialize import load_yaml

from components.base.errors import UserError
from components.config import load_config, parse_config
from components.config.flatten import flatten
from components.config.overrides import parse_overrides
from components.config.recipes import copy_recipe, list_recipes, show_recipe, take_recipe
from tests.samples import ROOT

OWN = "# My own.\nextends: starter\nremove: [prepare.tasks.lee]\ntrain: {steps: 7}\n"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "recipes").mkdir()
    starter = (ROOT / "recipes" / "starter.yaml").read_text(encoding="utf-8")
    (tmp_path / "recipes" / "starter.yaml").write_text(starter, encoding="utf-8")
    (tmp_path / "recipes" / "other.yaml").write_text(starter.replace("seed: ", "seed: 1"), encoding="utf-8")
    (tmp_path / "recipes" / "own.yaml").write_text(OWN, encoding="utf-8")
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    return tmp_path


def held(checkout: Path) -> str:
    return (checkout / "params.yaml").read_text(encoding="utf-8")


def refused(checkout: Path, name: str, *items: str) -> str:
    """What taking `name` says when it is refused: one line, and params.yaml is as before."""
    before = (checkout / "params.yaml").read_bytes()
    with pytest.raises(UserError) as caught:
        take_recipe(name, checkout, parse_overrides(items))
    assert (checkout / "params.yaml").read_bytes() == before
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_both_sizes_of_the_recipe_are_there() -> None:
    assert {"starter", "mistral-7b"} <= list_recipes(ROOT).keys()
    assert list(list_recipes(ROOT)) == sorted(list_recipes(ROOT))


def test_params_yaml_is_the_starter_recipe() -> None:
    """Byte for byte, but for the schema's path, which is relative to the file."""
    assert (ROOT / "params.yaml").read_text(encoding="utf-8") == show_recipe("starter", ROOT)
    ours, starter = (ROOT / name for name in ("params.yaml", "recipes/starter.yaml"))
    assert ours.read_bytes().splitlines()[1:] == starter.read_bytes().splitlines()[1:]


@pytest.mark.parametrize("path", [ROOT / "params.yaml", *(ROOT / "recipes").glob("*.yaml")], ids=lambda path: path.stem)
def test_editors_find_the_schema(path: Path) -> None:
    schema = path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# yaml-language-server: $schema=")
    assert (path.parent / schema).resolve() == ROOT / "docs" / "params.schema.json"


def test_a_recipe_without_extends_is_taken_as_it_is(checkout: Path) -> None:
    take_recipe("other", checkout)
    taken, recipe = (checkout / name for name in ("params.yaml", "recipes/other.yaml"))
    assert taken.read_bytes() == recipe.read_bytes().replace(b"$schema=../docs", b"$schema=docs")


@pytest.mark.parametrize("name", sorted(list_recipes(ROOT)))
def test_what_is_taken_means_the_same_to_us_and_to_dvc(name: str, tmp_path: Path) -> None:
    """DVC reads YAML 1.2 where we read 1.1."""
    taken = tmp_path / "params.yaml"
    taken.write_text(show_recipe(name, ROOT), encoding="utf-8")
    config = load_config(ROOT / "recipes" / f"{name}.yaml")
    assert load_config(taken) == config
    assert parse_config(load_yaml(str(taken)), "dvc") == config
    assert "extends" not in yaml.safe_load(taken.read_text(encoding="utf-8"))


def test_a_recipe_that_extends_is_taken_resolved(checkout: Path) -> None:
    take_recipe("own", checkout)
    header, values = held(checkout).splitlines()[:3], yaml.safe_load(held(checkout))
    assert header[1].startswith("# Made from recipes/own.yaml: ")
    assert list(values) == list(yaml.safe_load((checkout / "recipes" / "starter.yaml").read_text(encoding="utf-8")))
    assert values["train"]["steps"] == 7
    assert "lee" not in values["prepare"]["tasks"]


def test_single_values_on_top(checkout: Path) -> None:
    take_recipe("starter", checkout, parse_overrides(["train.steps=50", "mine.margin=0.9"]))
    config = load_config(checkout / "params.yaml")
    assert (config.train.steps, config.mine.margin) == (50, 0.9)
    assert "# Made from recipes/starter.yaml with train.steps=50 mine.margin=0.9: " in held(checkout)


def test_what_a_recipe_made_may_be_replaced_and_edits_may_not(checkout: Path) -> None:
    take_recipe("starter", checkout, {"train.steps": 50})
    take_recipe("own", checkout)
    take_recipe("own", checkout, {"train.steps": 51})
    made = held(checkout)
    for edited in (made.replace("steps: 51", "steps: 52"), made + "# mine\n", made.replace("with train.steps=51", "")):
        assert edited != made
        (checkout / "params.yaml").write_text(edited, encoding="utf-8")
        assert "edits of your own" in refused(checkout, "starter")
    (checkout / "params.yaml").write_text(made, encoding="utf-8")
    take_recipe("starter", checkout)
    assert held(checkout) == (ROOT / "params.yaml").read_text(encoding="utf-8")


def test_own_edits_are_not_overwritten(checkout: Path) -> None:
    for edit in (b"seed: 5", b"\xff"):
        (checkout / "params.yaml").write_bytes(edit)
        assert "edits of your own" in refused(checkout, "other")


@pytest.mark.parametrize(
    ("items", "message"),
    [
        (["train.stepz=1"], "set: train.stepz: unknown key; did you mean train.steps?"),
        (["trian.steps=1"], "set: trian: unknown key; did you mean train?"),
        (["train.steps=many"], "set: train.steps: Input should be a valid integer"),
        (["train.steps.x=1"], "is a single value"),
        (["train.steps"], "must be KEY=VALUE"),
        (["train.document_tokens=4096"], "set: train.document_tokens: 4096 is over prompt.document_tokens"),
    ],
)
def test_a_wrong_value_on_top_changes_nothing(checkout: Path, items: list[str], message: str) -> None:
    assert message in refused(checkout, "starter", *items)


def test_an_unknown_or_broken_recipe_changes_nothing(checkout: Path) -> None:
    message = refused(checkout, "startr")
    assert "no recipe 'startr'" in message
    assert "did you mean starter? there are other, own, starter" in message
    (checkout / "recipes" / "own.yaml").write_text("extends: nothing", encoding="utf-8")
    assert "recipes/own.yaml: extends: no recipe 'nothing'" in refused(checkout, "own")


def test_outside_a_checkout(tmp_path: Path) -> None:
    for call in (list_recipes, lambda root: show_recipe("starter", root)):
        with pytest.raises(UserError, match="run this in the root of the checkout"):
            call(tmp_path)


def test_the_list_has_the_first_comment_of_each(checkout: Path) -> None:
    assert list_recipes(checkout)["own"] == "My own."
    (checkout / "recipes" / "bare.yaml").write_text("seed: 1\n", encoding="utf-8")
    assert list_recipes(checkout)["bare"] == ""
    for name, about in list_recipes(ROOT).items():
        assert about.endswith("."), f"{name}: its first comment is one whole sentence"


def test_a_copy_extends_its_recipe_and_can_be_taken(checkout: Path) -> None:
    file = checkout / "recipes" / "mine.yaml"
    copy_recipe("other", file, checkout)
    assert load_config(file) == load_config(checkout / "recipes" / "other.yaml")
    assert list_recipes(checkout)["mine"].startswith("recipes/other.yaml with the lines below")
    take_recipe("mine", checkout)
    with pytest.raises(UserError, match="exists already"):
        copy_recipe("other", file, checkout)
    with pytest.raises(UserError, match=r"found by its name as recipes/NAME\.yaml"):
        copy_recipe("other", checkout / "mine.yaml", checkout)
    with pytest.raises(UserError, match="no recipe 'others'"):
        copy_recipe("others", checkout / "recipes" / "new.yaml", checkout)


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
                "train.gradient_checkpointing",
                "train.lora.alpha",
                "register.name",
            },
        ),
        (
            "mistral-7b-8gpu",
            {
                "evaluate.engine.workers",
                "evaluate.scoring_processes",
                "train.row_tokens",
                "train.processes",
                "register.name",
            },
        ),
    ],
)
def test_siblings_differ_from_the_full_recipe_in_the_parameters_they_name_only(name: str, keys: set[str]) -> None:
    full, sibling = (
        flatten(load_config(ROOT / "recipes" / f"{n}.yaml").model_dump(by_alias=True)) for n in ("mistral-7b", name)
    )
    assert {key for key in full.keys() | sibling.keys() if full.get(key) != sibling.get(key)} == keys
    scales = {float(recipe["train.lora.alpha"]) / float(recipe["train.lora.rank"]) for recipe in (full, sibling)}
    assert len(scales) == 1, "one learning rate needs one scale of the adapter"
