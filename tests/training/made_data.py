"""Training data of one task, made from lists."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from components.contracts.tasks import Task
from components.training.examples import Examples, TrainingData
from components.training.judgements import Judgements


@dataclass(frozen=True)
class Listed:
    """Texts in memory; `read` counts what was taken."""

    texts: Sequence[str]
    read: list[int]

    @property
    def identity(self) -> str:
        return repr(self.texts)

    def take(self, rows: np.ndarray) -> list[str]:
        self.read.extend(rows.tolist())
        return [self.texts[row] for row in rows]

    def hashes(self) -> np.ndarray:
        return np.array([int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) for text in self.texts], np.uint64)


def examples_of(groups: Sequence[tuple[int, int, Sequence[int]]], scores: Sequence[float] = ()) -> Examples:
    """Groups of (query, positive, negatives); each with the first of `scores` as its negatives' (0.4, 0.3, ...)."""
    scores = scores or [0.4 - place / 10 for place in range(max((len(own) for _, _, own in groups), default=0))]
    sizes = [len(own) for _, _, own in groups]
    return Examples(
        np.array([query for query, _, _ in groups], dtype=np.uint32),
        np.array([positive for _, positive, _ in groups], dtype=np.uint32),
        np.full(len(groups), 0.9),
        np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)]),
        np.ones(len(groups)),
        np.array([negative for _, _, own in groups for negative in own], dtype=np.uint32),
        np.array([scores[place] for size in sizes for place in range(size)], dtype=float),
    )


def training_data(
    task: Task, examples: Examples, queries: Sequence[str], documents: Sequence[str], grades: Sequence[float]
) -> TrainingData:
    """Data of one task whose examples are all that was judged; `grades` are theirs."""
    judged = Judgements(examples.query, examples.positive, np.array(grades, dtype=float))
    return TrainingData(
        tasks={task.name: task},
        examples={task.name: examples},
        query_text=Listed(queries, []),
        document_text=Listed(documents, []),
        query_label=np.full(len(queries), -1, dtype=np.int32),
        document_label=np.full(len(documents), -1, dtype=np.int32),
        labels=[],
        judgements=judged,
        dev_queries={},
        dev_documents={},
    )
