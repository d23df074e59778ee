"""Building blocks of every section of the parameters: the base class, number ranges and names."""

import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def safe_name(name: str) -> str:
    """The name, if it can be a file name, an argument of a command and part of a git reference.

    Raises:
        ValueError: it cannot, such as `../x`, `a/b`, `-x` or `x.lock`.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", name) or ".." in name or name.endswith((".", ".lock")):
        raise ValueError(
            f"{name!r} is no name: use letters, digits and _ . -, a letter or digit first, no .lock at the end"
        )
    return name


Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
PositiveFloat = Annotated[float, Field(gt=0)]
PositiveFraction = Annotated[float, Field(gt=0, le=1)]
NonNegative = Annotated[float, Field(ge=0)]
Name = Annotated[str, Field(min_length=1)]
FileName = Annotated[str, AfterValidator(safe_name)]  # a name that becomes part of a path
Names = Name | Annotated[list[Name], Field(min_length=1)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
TaskKind = Literal[
    "retrieval", "reranking", "classification", "clustering", "pair_classification", "sts", "summarization"
]


class Params(BaseModel):
    """Base of every section: immutable, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def differs_from_default(section: Params, setting: str) -> bool:
    """Whether a setting has another value than its default."""
    return bool(getattr(section, setting) != type(section).model_fields[setting].default)


def refuse_settings_without_effect(section: Params, belong_to: Mapping[str, tuple[str, ...]], *chosen: str) -> None:
    """Refuse settings that are set but belong to another choice than the one made here.

    Args:
        belong_to: setting: the choices (formats, kinds) that read it.
        chosen: the section's own choices.

    Raises:
        ValueError: one line for each such setting.
    """
    wrong = [
        f"{setting} has no effect on {', '.join(chosen)}, it belongs to {' and '.join(choices)}; remove it"
        for setting, choices in belong_to.items()
        if differs_from_default(section, setting) and not set(chosen) & set(choices)
    ]
    if wrong:
        raise ValueError("\n".join(wrong))
