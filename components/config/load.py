"""From a parameter file to the typed `Config`."""

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from components.base.errors import UserError
from components.config.extends import read_parameters
from components.config.messages import describe_errors
from components.config.whole import Config


def load_config(path: Path) -> Config:
    """Read and validate a parameter file, merged with the recipe it extends.

    Raises:
        UserError: the file is missing, is not YAML, or extends what is not there; or every unknown or wrong key, one
            line each.
    """
    return parse_config(read_parameters(path), str(path))


def parse_config(raw: Any, name: str) -> Config:
    """Validate parameters already read from `name`; raises UserError like `load_config`."""
    try:
        return Config.model_validate(raw)
    except ValidationError as problem:
        raise UserError(describe_errors(problem, raw, Config, name)) from None
