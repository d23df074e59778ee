"""One case: files, a source and a task; what prepare gives of it, or what refuses it and the change that mends it."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.data.conftest import Rows
from tests.data.prepared import Outputs

Split = tuple[int, int, int]  # train, dev and test
Check = Callable[[Outputs, dict[str, float]], None]  # tables and metrics of prepare


def lines(rows: Rows) -> str:
    """JSON Lines; half an emoji stays the escape that it is in the file."""
    return "".join(json.dumps(row) + "\n" for row in rows)


@dataclass(frozen=True)
class Case:
    """What a user brings, and what must come of it.

    files: by path below the source's folder. path: of the source; its one file, or the folder of several.
    asked: train, dev and test. refused: a regular expression over the one line of the error.
    cure: settings of the source (`source`) or task (`task`), or files, that the line tells: with them the case gives.
    says: what the log or the printed lines hold. holds: a further check of the tables and metrics.
    """

    files: Mapping[str, str | bytes]
    asked: Split
    source: Mapping[str, Any] = field(default_factory=lambda: {"format": "jsonl"})
    task: Mapping[str, Any] = field(default_factory=dict)
    path: str = ""
    refused: str = ""
    cure: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    given: Split | None = None
    says: tuple[str, ...] = ()
    holds: Check = lambda out, metrics: None


def devices(count: int = 30, **more: Any) -> Rows:
    """Questions and answers about devices that differ by a number."""
    return [
        {"query": f"how do I reset device {n}", "document": f"Hold the button of device {n} for ten seconds.", **more}
        for n in range(count)
    ]


def changed(rows: Rows, place: int, **values: Any) -> Rows:
    """The rows, one of them with other values; a value of `...` takes the column away."""
    row = {name: value for name, value in {**rows[place], **values}.items() if value is not ...}
    return [*rows[:place], row, *rows[place + 1 :]]


def collection(documents: Rows, queries: Rows, judged: Rows, folder: str = "k") -> dict[str, str]:
    """The three files of a collection."""
    parts = {"corpus": documents, "queries": queries, "qrels": judged}
    return {f"{folder}/{name}.jsonl": lines(rows) for name, rows in parts.items()}


def rivers(count: int = 12, grades: tuple[int, ...] = (1,), grade: str = "relevance") -> tuple[Rows, Rows, Rows]:
    """A collection of `count` questions and passages, judged with these grades in turn."""
    documents = [
        {"doc_id": f"d{n}", "title": f"Title {n}", "text": f"Body number {n} about rivers."} for n in range(count)
    ]
    queries = [{"query_id": f"q{n}", "text": f"which river {n}"} for n in range(count)]
    judged = [{"query_id": f"q{n}", "doc_id": f"d{n}", grade: grades[n % len(grades)]} for n in range(count)]
    return documents, queries, judged
