"""Recipes by name: recipes/NAME.yaml. Taking one writes params.yaml, the parameters of the run at hand.

A recipe is written as it is, comments and all. One that extends another, or gets single values on top, is written
resolved: every value in its place, below a header with its origin and the sha256 of the text. DVC compares values, so
the two forms mean the same to it. A params.yaml with a wrong sha256, or that no recipe equals, holds the user's edits
and is never overwritten.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from components.base.errors import UserError
from components.base.files import whole_file
from components.config.extends import FOLDER, is_derived, read_parameters, recipe_file, recipe_files
from components.config.load import parse_config
from components.config.overrides import apply_overrides

SCHEMA = "# yaml-language-server: $schema="  # editors complete and check the file by it
SCHEMA_FILE = "docs/params.schema.json"
DIGEST = re.compile(r"^# sha256 of the other lines: ([0-9a-f]{64})\n", re.MULTILINE)


class _Plain(yaml.SafeDumper):
    """YAML without anchors: a value that is used twice is written twice."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def list_recipes(root: Path) -> dict[str, str]:
    """The recipes of a checkout: name, and the first comment of the file."""
    return {name: _summary(_read_text(file)) for name, file in recipe_files(_folder(root)).items()}


def show_recipe(name: str, root: Path, changes: Mapping[str, Any] | None = None) -> str:
    """The text that taking a recipe writes to params.yaml.

    Raises:
        UserError: there is no such recipe, it is not valid, or a change is not.
    """
    return parameters_text(recipe_file(name, _folder(root)), changes or {})


def take_recipe(name: str, root: Path, changes: Mapping[str, Any] | None = None) -> None:
    """Make a recipe, with single values on top, the params.yaml of `root`.

    Raises:
        UserError: there is no such recipe, it is not valid, a change is not (see `parse_overrides`), or params.yaml
            holds edits of the user's own (they would be lost).
    """
    text, current = show_recipe(name, root, changes), root / "params.yaml"
    if current.is_file():
        held = _read_text(current)
        if held == text:
            return
        if not _is_a_recipe(held, root):
            raise UserError("params.yaml: has edits of your own; save it as recipes/<name>.yaml, then take the recipe")
    with whole_file(current) as partial:
        partial.write_bytes(text.encode())


def copy_recipe(name: str, file: Path, root: Path) -> None:
    """Write a recipe of the user's own to `file`: it extends `name`, so it holds what the user changes and no more.

    Raises:
        UserError: there is no such recipe, `file` exists, or is outside the folder of recipes.
    """
    recipe_file(name, _folder(root))
    if file.suffix != ".yaml" or file.resolve().parent != _folder(root).resolve():
        raise UserError(f"{file}: a recipe is found by its name as {FOLDER}/NAME.yaml; write it there")
    if file.exists():
        raise UserError(f"{file}: exists already; name a file that does not")
    file.write_text(
        f"{SCHEMA}../{SCHEMA_FILE}\n"
        f"# {FOLDER}/{name}.yaml with the lines below; `make run RECIPE={file.stem}` runs it.\n"
        f"# Mappings merge, lists and values replace; `remove: [prepare.tasks.NAME]` leaves keys of {name} out.\n"
        f"extends: {name}\n",
        encoding="utf-8",
    )


def parameters_text(source: Path, changes: Mapping[str, Any]) -> str:
    """The text of params.yaml for the parameter file `source` with `changes` on top, by dotted key.

    Raises:
        UserError: the file is not valid, or a change is not.
    """
    values = read_parameters(source)
    parse_config(values, str(source))
    if not changes and not is_derived(source):
        return _placed(source)
    values = apply_overrides(values, changes)
    parse_config(values, "set")
    origin = f"{FOLDER}/{source.name}" if source.parent.name == FOLDER else source.name
    extra = [f"{key}={json.dumps(value, default=str)}" for key, value in changes.items()]
    about = " with ".join([origin, *([" ".join(extra)] if extra else [])])
    head = f"{SCHEMA}{SCHEMA_FILE}\n# Made from {about}: change that, not this file.\n"
    body = yaml.dump(values, Dumper=_Plain, sort_keys=False, allow_unicode=True, width=120)
    return f"{head}# sha256 of the other lines: {_digest(head + body)}\n{body}"


def _is_a_recipe(text: str, root: Path) -> bool:
    """Whether `text` is as a recipe made it: its sha256 holds, or it equals a recipe of this checkout."""
    stated = DIGEST.search(text)
    if stated:
        return _digest(DIGEST.sub("", text, count=1)) == stated[1]
    return any(text == _placed(file) for file in recipe_files(_folder(root)).values())


def _placed(recipe: Path) -> str:
    """A recipe's text in params.yaml: the schema's path is relative to the file."""
    return _read_text(recipe).replace(f"{SCHEMA}../{SCHEMA_FILE}", f"{SCHEMA}{SCHEMA_FILE}", 1)


def _read_text(file: Path) -> str:
    """A file's text, line ends as they are; a comparison must not fail on a file that is no text."""
    return file.read_bytes().decode(errors="replace")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _folder(root: Path) -> Path:
    folder = root / FOLDER
    if not folder.is_dir():
        raise UserError(f"{folder}/: no such folder; run this in the root of the checkout")
    return folder


def _summary(text: str) -> str:
    comments = [line.removeprefix("#").strip() for line in text.splitlines() if line.startswith("#")]
    return next((line for line in comments if not line.startswith(SCHEMA.removeprefix("# "))), "")
