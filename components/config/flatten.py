"""Nested values by dotted name."""

from typing import Any


def flatten(values: Any, path: str = "") -> dict[str, str]:
    """Nested parameters as dotted names.

    >>> flatten({"train": {"lora": {"rank": 16}, "steps": 3}})
    {'train.lora.rank': '16', 'train.steps': '3'}
    """
    if not isinstance(values, dict) or (not values and path):
        return {path: str(values)}
    parts: dict[str, str] = {}
    for key, value in values.items():
        parts |= flatten(value, f"{path}.{key}" if path else str(key))
    return parts


def value_at(values: Any, key: str) -> Any:
    """The value at a dotted key; None if there is none.

    >>> value_at({"train": {"steps": 3}}, "train.steps")
    3
    """
    for part in key.split("."):
        values = values.get(part) if isinstance(values, dict) else None
    return values
