"""tasks.yaml: what the stages after `prepare` know about each task."""

from dataclasses import dataclass
from pathlib import Path

import yaml

from components.base.errors import UserError


@dataclass(frozen=True)
class Task:
    """One entry of tasks.yaml: what the stages after `prepare` know about a task.

    in_domain: the benchmark tasks that a training task serves. paraphrases: of the instruction, drawn in training too.
    positive_score: grade from which on a pair is a positive, where the task has grades and states one.
    """

    name: str
    kind: str
    instruction: str
    symmetric: bool
    weight: float
    licence: str
    source: str
    in_domain: tuple[str, ...] = ()
    positive_score: float | None = None
    paraphrases: tuple[str, ...] = ()

    @property
    def wordings(self) -> tuple[str, ...]:
        """The instruction, which everything but training uses, and its paraphrases."""
        return self.instruction, *self.paraphrases


def write_tasks(tasks: list[Task], path: Path) -> None:
    """Write tasks.yaml."""
    rows = [{field: getattr(task, field) for field in Task.__dataclass_fields__} for task in tasks]
    rows = [{**row, "in_domain": list(row["in_domain"]), "paraphrases": list(row["paraphrases"])} for row in rows]
    rows = [{key: value for key, value in row.items() if key != "paraphrases" or value} for row in rows]
    path.write_text(yaml.safe_dump(rows, sort_keys=False, allow_unicode=True), encoding="utf-8")


def read_tasks(path: Path) -> dict[str, Task]:
    """Tasks by name. Raises UserError when the file is missing or malformed."""
    if not path.is_file():
        raise UserError(f"{path}: missing; run the prepare stage (dvc repro)")
    try:
        rows = yaml.safe_load(path.read_text(encoding="utf-8"))
        lists = ("in_domain", "paraphrases")
        return {row["name"]: Task(**{**row, **{key: tuple(row.get(key, ())) for key in lists}}) for row in rows}
    except (TypeError, KeyError, yaml.YAMLError) as problem:
        raise UserError(f"{path}: malformed task entry: {problem}; run the prepare stage again") from None
