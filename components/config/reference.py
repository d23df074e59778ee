"""docs/parameters.md and docs/params.schema.json from the typed parameters: `foundry parameters`.

The page has every parameter with its type, default and meaning. The schema is for editors: completion, hover texts and
types while a file is written. It asks for no key, since a recipe that extends another leaves most of them out; that
all are there is checked when the file is read.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from components.base.files import whole_file
from components.config.recipes import SCHEMA_FILE
from components.config.whole import Config

PAGE_FILE = "docs/parameters.md"
HEAD = """# Parameters

Every key of params.yaml and recipes/*.yaml. Made by `foundry parameters` from `components/config`:
change it there, not here. *required* has no default. In a name, `<name>` is one of your own choice and `[]` an item of
a list. What the values of the full-size recipe are and where they come from: [recipe.md](recipe.md).
"""
DERIVED = """## Recipes that extend another

| parameter | type | default | what it does |
|---|---|---|---|
| `extends` | string | none | the recipe of recipes/ that this one changes: mappings merge, lists and values replace |
| `remove` | list of strings | none | keys of that recipe to leave out, by dotted path; comes before the merge |
"""
TABLE = "| parameter | type | default | what it does |\n|---|---|---|---|"


def parameters_page() -> str:
    """docs/parameters.md."""
    schema = Config.model_json_schema()
    models, sections = schema["$defs"], schema["properties"]
    plain = {name: node for name, node in sections.items() if "$ref" not in node}
    parts = [HEAD, "## Whole file\n", TABLE, *_rows({**schema, "properties": plain}, "", models)]
    variants: dict[str, str] = {}  # of unions, each shown once: title, name of the model
    for name, node in sections.items():
        if name not in plain:
            model = models[_reference(node)]
            parts += [f"\n## {name}\n", _intro(model), "", TABLE, *_rows(model, f"{name}.", models)]
            found = {title: one for title, one in _variants(model, models) if title not in variants}
            for title, one in found.items():
                parts += [f"\n### {title}\n", _intro(models[one]), "", TABLE, *_rows(models[one], "origin.", models)]
            variants |= found
    return "\n".join([*parts, "", DERIVED])


def editor_schema() -> str:
    """docs/params.schema.json."""
    schema = _for_editors(Config.model_json_schema())
    names = {"description": "a recipe of recipes/ that this one changes", "type": "string"}
    removed = {"description": "keys of that recipe to leave out, by dotted path", "type": "array"}
    schema["properties"] |= {"extends": names, "remove": {**removed, "items": {"type": "string"}}}
    whole = {"$schema": "http://json-schema.org/draft-07/schema#", **schema}
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


def _rows(model: dict[str, Any], prefix: str, models: dict[str, Any]) -> Iterator[str]:
    """The table's rows of a model, those of the sections in it included."""
    for name, node in model["properties"].items():
        below = [(_reference(one), suffix) for one, suffix in _nested(node)]
        about = node.get("description") or _intro(models[below[0][0]]).splitlines()[0]
        default = _default(node, required=name in model.get("required", ()))
        cells = (f"`{prefix}{name}`", _kind(node, models), default, about.replace("<", "&lt;"))
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
        if len(below) == 1:
            inner, suffix = below[0]
            yield from _rows(models[inner], f"{prefix}{name}{suffix}.", models)


def _nested(node: dict[str, Any]) -> list[tuple[dict[str, Any], str]]:
    """References to models in the type of a parameter, and what follows its name before their keys."""
    if "$ref" in node:
        return [(node, "")]
    if "$ref" in node.get("items", {}):
        return [(node["items"], "[]")]
    values = node.get("additionalProperties")
    if isinstance(values, dict) and "$ref" in values:
        return [(values, ".<name>")]
    return [(one, "") for one in node.get("oneOf", node.get("anyOf", [])) if "$ref" in one]


def _variants(model: dict[str, Any], models: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Unions below a model: `origin.kind: wheel`, and the name of that variant."""
    for name, node in model["properties"].items():
        for tag, reference in node.get("discriminator", {}).get("mapping", {}).items():
            yield f"{name}.{node['discriminator']['propertyName']}: {tag}", reference.rpartition("/")[2]
        for one, _ in _nested(node):
            yield from _variants(models[_reference(one)], models)


def _kind(node: dict[str, Any], models: dict[str, Any]) -> str:
    """A type in words."""
    if "discriminator" in node:
        return "one of " + ", ".join(f"`{tag}`" for tag in node["discriminator"]["mapping"])
    if "$ref" in node:
        return "section"
    if "anyOf" in node:
        return " or ".join(_kind(one, models) for one in node["anyOf"])
    if "const" in node:
        return f"`{node['const']}`"
    if "enum" in node:
        return "one of " + ", ".join(f"`{value}`" for value in node["enum"])
    if node["type"] == "array":
        return f"list of: {_kind(node['items'], models)}"
    if node["type"] == "object":
        return f"mapping of names to: {_kind(node['additionalProperties'], models)}"
    signs = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    limits = [f"{sign} {node[key]:g}" for key, sign in signs.items() if key in node]
    pattern = [f"matching `{node['pattern']}`"] if "pattern" in node else []
    return " ".join([node["type"], *([", ".join(limits)] if limits else []), *pattern])


def _default(node: dict[str, Any], required: bool) -> str:
    if required:
        return "*required*"
    if _nested(node) and node.get("default"):
        return "as below"
    return f"`{json.dumps(node['default'])}`"


def _reference(node: dict[str, Any]) -> str:
    return str(node["$ref"]).rpartition("/")[2]


def _intro(model: dict[str, Any]) -> str:
    return str(model["description"])


def _for_editors(node: Any) -> Any:
    """A schema without what holds for a whole file only: required keys, and one variant of a union to the letter."""
    if isinstance(node, list):
        return [_for_editors(one) for one in node]
    if not isinstance(node, dict):
        return node
    kept: dict[str, Any] = {}
    for key, value in node.items():
        if key in ("properties", "$defs"):
            kept[key] = {name: _for_editors(one) for name, one in value.items()}
        elif key in ("default", "const", "enum"):
            kept[key] = value
        elif key not in ("title", "required", "discriminator"):
            kept["anyOf" if key == "oneOf" else key] = _for_editors(value)
    return kept


def write_reference(root: Path) -> list[str]:
    """Write both files below `root`; returns their names."""
    for name, text in ((PAGE_FILE, parameters_page()), (SCHEMA_FILE, editor_schema())):
        with whole_file(root / name) as partial:
            partial.write_text(text, encoding="utf-8")
    return [PAGE_FILE, SCHEMA_FILE]
