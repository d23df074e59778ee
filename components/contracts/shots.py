"""The prompts of a trained model, in two files.

select_shots/shots.yaml     by training task: instruction, symmetric, the chosen shots and the evidence of the choice,
                            and `serves`: the benchmark tasks that get this prompt
evaluate/prompts.yaml       by benchmark task: the prompt it was evaluated with, and where that came from
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from components.base.errors import UserError


@dataclass(frozen=True)
class Shot:
    """One few-shot example: a query of the task and what answers it (a passage, a label, a similar text)."""

    query: str
    response: str


def shot_response(kind: str, document: str, label: str | None) -> str:
    """The response in a shot of a task of this kind: the category in clustering if there is one, else the positive."""
    return label if kind == "clustering" and label is not None else document


@dataclass(frozen=True)
class TaskPrompt:
    """Instruction and shots before a task's queries; `symmetric`: the instruction before its documents, too."""

    instruction: str
    symmetric: bool = False
    shots: tuple[Shot, ...] = ()


@dataclass(frozen=True)
class TrainedPrompt:
    """The prompt of a training task, and the benchmark tasks that it serves beside one of its own name."""

    prompt: TaskPrompt
    serves: tuple[str, ...] = ()


@dataclass(frozen=True)
class ChosenShots:
    """One entry of shots.yaml.

    evidence: measure, dev scores by number of shots, prompts looked at, p-value; or why no shots were tried.
    """

    strategy: str
    trained: TrainedPrompt
    evidence: Mapping[str, Any] = field(default_factory=dict)


ShotsFrom = Literal["selection", "stated", "none"]


@dataclass(frozen=True)
class EvaluatedPrompt:
    """The prompt of a benchmark task.

    served_by: the training task whose prompt it is; None: the benchmark's own.
    shots_from: selection (select_shots), stated (evaluate.shots) or none (zero-shot).
    seen: whether training had this instruction.
    """

    prompt: TaskPrompt
    served_by: str | None
    shots_from: ShotsFrom
    seen: bool


def count_prompts(table: Mapping[str, EvaluatedPrompt]) -> dict[str, int]:
    """How many tasks have which kind of prompt."""
    rows = list(table.values())
    return {
        "tasks": len(rows),
        "served_by_a_training_task": sum(one.served_by is not None for one in rows),
        "shots_from_selection": sum(one.shots_from == "selection" for one in rows),
        "shots_stated": sum(one.shots_from == "stated" for one in rows),
        "zero_shot": sum(one.shots_from == "none" for one in rows),
        "instruction_seen_in_training": sum(one.seen for one in rows),
    }


def write_shots(chosen: Mapping[str, ChosenShots], path: Path) -> None:
    """Write shots.yaml, one entry a task."""
    entries = {
        task: {
            "number": len(entry.trained.prompt.shots),
            "strategy": entry.strategy,
            "instruction": entry.trained.prompt.instruction,
            "symmetric": entry.trained.prompt.symmetric,
            "serves": list(entry.trained.serves),
            "examples": _examples(entry.trained.prompt.shots),
            **entry.evidence,
        }
        for task, entry in chosen.items()
    }
    _write(entries, path)


def read_shots(path: Path) -> dict[str, TrainedPrompt]:
    """Prompts by training task, with as many shots as `number` says.

    A file of an earlier version has no `serves` and `symmetric`; its shots reach the benchmark task of their own name.

    Raises:
        UserError: the file is missing or an entry is malformed.
    """
    entries = _read(path, "select_shots")
    return {
        task: TrainedPrompt(_prompt(entry, where := f"{path}: task {task}"), _serves(entry, where))
        for task, entry in entries.items()
    }


def write_prompts(table: Mapping[str, EvaluatedPrompt], path: Path) -> None:
    """Write prompts.yaml, one entry a benchmark task."""
    entries = {
        task: {
            "served_by": one.served_by,
            "shots_from": one.shots_from,
            "instruction_seen_in_training": one.seen,
            "number": len(one.prompt.shots),
            "instruction": one.prompt.instruction,
            "symmetric": one.prompt.symmetric,
            "examples": _examples(one.prompt.shots),
        }
        for task, one in table.items()
    }
    _write(entries, path)


def read_prompts(path: Path) -> dict[str, TaskPrompt]:
    """Prompts by benchmark task. Raises UserError when the file is missing or an entry is malformed."""
    return {task: _prompt(entry, f"{path}: task {task}") for task, entry in _read(path, "evaluate").items()}


def _examples(shots: Sequence[Shot]) -> list[dict[str, str]]:
    return [{"query": shot.query, "response": shot.response} for shot in shots]


def _write(entries: Mapping[str, Any], path: Path) -> None:
    path.write_text(yaml.safe_dump(entries, sort_keys=False, allow_unicode=True, width=120), encoding="utf-8")


def _read(path: Path, stage: str) -> dict[str, Any]:
    if not path.is_file():
        raise UserError(f"{path}: missing; run the {stage} stage (dvc repro {stage})")
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as problem:
        raise UserError(f"{path}: no YAML: {' '.join(str(problem).split())}; run the {stage} stage again") from None
    if not isinstance(entries, dict):
        raise UserError(f"{path}: holds no entries by task; run the {stage} stage again")
    return entries


def _prompt(entry: Any, place: str) -> TaskPrompt:
    again = "run its stage again"
    try:
        shots, number = tuple(Shot(**example) for example in entry["examples"]), entry["number"]
        instruction, symmetric = entry["instruction"], entry.get("symmetric", False)
    except (KeyError, TypeError, AttributeError) as problem:
        raise UserError(f"{place}: malformed entry ({problem!r}); {again}") from None
    if not isinstance(number, int) or not 0 <= number <= len(shots):
        raise UserError(f"{place}: number is {number!r} of {len(shots)} examples; {again}")
    if not all(isinstance(text, str) for shot in shots[:number] for text in (shot.query, shot.response)):
        raise UserError(f"{place}: an example's query or response is no text; {again}")
    if not isinstance(instruction, str) or not isinstance(symmetric, bool):
        raise UserError(f"{place}: instruction is no text, or symmetric neither true nor false; {again}")
    return TaskPrompt(instruction, symmetric, shots[:number])


def _serves(entry: Any, place: str) -> tuple[str, ...]:
    names = entry.get("serves", [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UserError(f"{place}: serves is no list of task names; run its stage again")
    return tuple(names)
