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
