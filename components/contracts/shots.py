"""shots.yaml: the few-shot examples that select_shots chose for each task, and the dev scores behind the choice."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from components.base.errors import UserError


@dataclass(frozen=True)
class Shot:
    """One few-shot example: a query of the task and what answers it (a passage, a label, a similar text)."""

    query: str
    response: str


@dataclass(frozen=True)
class ChosenShots:
    """One entry of shots.yaml; `dev_scores` by number of shots."""

    strategy: str
    instruction: str
    shots: Sequence[Shot]
    dev_scores: Mapping[int, float]


def write_shots(chosen: Mapping[str, ChosenShots], path: Path) -> None:
    """Write shots.yaml, one entry a task."""
    entries = {
        task: {
            "number": len(entry.shots),
            "strategy": entry.strategy,
            "instruction": entry.instruction,
            "examples": [{"query": shot.query, "response": shot.response} for shot in entry.shots],
            "dev_scores": dict(entry.dev_scores),
        }
        for task, entry in chosen.items()
    }
    path.write_text(yaml.safe_dump(entries, sort_keys=False, allow_unicode=True, width=120), encoding="utf-8")


def read_shots(path: Path) -> dict[str, tuple[Shot, ...]]:
    """Shots by task, as many as `number` says. Raises UserError when the file is missing or an entry is malformed."""
    if not path.is_file():
        raise UserError(f"{path}: missing; run the select_shots stage (dvc repro select_shots)")
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as problem:
        raise UserError(
            f"{path}: no YAML: {' '.join(str(problem).split())}; run the select_shots stage again"
        ) from None
    if not isinstance(entries, dict):
        raise UserError(f"{path}: holds no entries by task; run the select_shots stage again")
    return {task: _shots(entry, f"{path}: task {task}") for task, entry in entries.items()}


def _shots(entry: Any, place: str) -> tuple[Shot, ...]:
    try:
        shots, number = tuple(Shot(**example) for example in entry["examples"]), entry["number"]
    except (KeyError, TypeError) as problem:
        raise UserError(f"{place}: malformed entry ({problem!r}); run the select_shots stage again") from None
    if not isinstance(number, int) or not 0 <= number <= len(shots):
        raise UserError(f"{place}: number is {number!r} of {len(shots)} examples; run the select_shots stage again")
    if not all(isinstance(text, str) for shot in shots[:number] for text in (shot.query, shot.response)):
        raise UserError(f"{place}: an example's query or response is no text; run the select_shots stage again")
    return shots[:number]
