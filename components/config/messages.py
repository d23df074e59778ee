"""Error messages for a parameter file: all errors, one line each, as `path: key: cause and cure`."""

import difflib
from collections.abc import Mapping, Sequence
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

SHOWN = 60  # characters of a wrong value


def describe_errors(problem: ValidationError, raw: Any, model: type[BaseModel], name: str) -> str:
    """Every error of `raw`, which `model` refused, in the order of its fields."""
    found: dict[str, list[str]] = {}
    values: dict[str, str] = {}
    for error in problem.errors():
        loc, kind = error["loc"], error["type"]
        key = _key_in_file(loc, raw, missing=kind == "missing")
        messages = found.setdefault(key, [])
        if kind == "value_error":
            messages += error["msg"].removeprefix("Value error, ").splitlines()
        elif kind == "missing":
            messages.append("required, and not there; add it")
        elif kind == "extra_forbidden":
            messages.append(_unknown_key(loc, key, model))
        else:
            message, values[key] = _message(error, model), _shown(error["input"])
            # a value that may have several types is refused by each of them
            messages[:] = [f"{messages[0]} or {message}"] if messages and message not in messages else [message]
    return "\n".join(
        f"{name}: " + (f"{key}: " if key else "") + message + values.get(key, "")
        for key, messages in found.items()
        for message in messages
    )


def _key_in_file(loc: Sequence[int | str], raw: Any, missing: bool) -> str:
    """`loc` without what pydantic puts in between, the tag of a union or the name of a type.

    missing: the last part is a key that `raw` should have.
    """
    parts = []
    for place, part in enumerate(loc):
        inside = part in raw if isinstance(raw, dict) else isinstance(raw, list) and isinstance(part, int)
        if inside:
            raw = raw[part]
        elif not (missing and place == len(loc) - 1):
            continue
        parts.append(str(part))
    return ".".join(parts)


def _message(error: Mapping[str, Any], model: type[BaseModel]) -> str:
    kind = error["type"]
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return "must hold keys with values"
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        tags = [str(tag) for one in _kinds_below(model, error["loc"]) for tag in _literals(one)]
        return f"needs {error['ctx']['discriminator']}, one of {', '.join(tags)}"
    return str(error["msg"])


def _shown(value: Any) -> str:
    """The wrong value, where it is short enough for a line."""
    if isinstance(value, dict | list):
        return ""
    return "; it is empty" if value is None else f"; it is {str(value)[:SHOWN]!r}"


def _unknown_key(loc: Sequence[int | str], key: str, model: type[BaseModel]) -> str:
    known = [name for kind in _kinds_below(model, loc[:-1]) if _is_model(kind) for name in _fields(kind)]
    near = difflib.get_close_matches(str(loc[-1]), known, n=1)
    if not near:
        return "unknown key; remove it or correct its name (docs/parameters.md lists all)"
    return f"unknown key; did you mean {'.'.join([*key.split('.')[:-1], near[0]])}?"


def _kinds_below(model: type[BaseModel], loc: Sequence[int | str]) -> list[Any]:
    """The types that the value at `loc` of `model` may have."""
    kinds: list[Any] = [model]
    for part in loc:
        kinds = _kinds_at(kinds, part)
    return kinds


def _kinds_at(kinds: list[Any], part: int | str) -> list[Any]:
    """The types that a value at `part` of a value of one of `kinds` may have; a union's tag chooses one of them."""
    below = []
    for kind in kinds:
        if _is_model(kind):
            below += _members(_fields(kind).get(str(part)))
        elif get_origin(kind) in (dict, list):
            below += _members(get_args(kind)[-1])
    tagged = [kind for kind in kinds if _is_model(kind) and part in _literals(kind)]
    return below or tagged or kinds


def _fields(model: type[BaseModel]) -> dict[str, Any]:
    """Types of a model's fields, by their names in a file."""
    return {field.alias or name: field.annotation for name, field in model.model_fields.items()}


def _literals(model: type[BaseModel]) -> list[Any]:
    return [value for kind in _fields(model).values() if get_origin(kind) is Literal for value in get_args(kind)]


def _members(kind: Any) -> list[Any]:
    if get_origin(kind) is Annotated:
        return _members(get_args(kind)[0])
    if get_origin(kind) in (Union, UnionType):
        return [member for one in get_args(kind) for member in _members(one)]
    return [] if kind is None else [kind]


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
