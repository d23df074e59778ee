"""Single values on top of a parameter file: `train.steps=50`, from a command line or a flow's parameters."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml

from components.base.errors import UserError


def parse_overrides(items: Iterable[str]) -> dict[str, Any]:
    """`KEY=VALUE` texts as values by dotted key; each value is read as YAML.

    >>> parse_overrides(["train.steps=50", "train.matryoshka=[64, 128]"])
    {'train.steps': 50, 'train.matryoshka': [64, 128]}

    Raises:
        UserError: a text is not KEY=VALUE, its value is no YAML, or a key is given twice.
    """
    changes: dict[str, Any] = {}
    for item in items:
        key, equals, value = item.partition("=")
        if not (key and equals):
            raise UserError(f"set {item}: must be KEY=VALUE, such as train.steps=50")
        if key in changes:
            raise UserError(f"set {item}: {key} is given twice; remove one")
        try:
            changes[key] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise UserError(f"set {item}: the value is not valid YAML; quote it") from None
    return changes


def apply_overrides(raw: Any, changes: Mapping[str, Any]) -> Any:
    """`raw` with the value of each dotted key of `changes` in place; keys are not validated here.

    Raises:
        UserError: a key leads through a single value.
    """
    for key, value in changes.items():
        raw = _with_value(raw, key.split("."), value, key)
    return raw


def _with_value(raw: Any, path: Sequence[str], value: Any, key: str) -> Any:
    first, *rest = path
    section = {} if raw is None else raw
    if not isinstance(section, dict):
        raise UserError(f"set {key}: there is no {first!r}, {str(raw)[:60]!r} is a single value; correct the key")
    return {**section, first: _with_value(section.get(first), rest, value, key) if rest else value}
