"""Targets of a batch: positives, groups, soft labels, and which documents are no negatives of a query."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from components.base.overlap import normalise


@dataclass(frozen=True)
class Targets:
    """Targets of a batch: B queries, M documents, G = 1 + hard negatives of one query's own group.

    positive: int64 [B], each query's positive among the M documents.
    group: int64 [B, G], the query's own positive (first) and hard negatives; -1 = none.
    teacher: float32 [B, G], the teacher's raw score of each group member (ignored where group is -1).
    relevant: bool [B, M], documents known to be relevant to the query besides its positive: never negatives.
    other: bool [B, M], documents labelled otherwise than the query: known to be irrelevant, with any score.
    equal: bool [B, M], documents whose text is the query's or its positive's, under any id: never negatives.
    alike: bool [B, B], queries with the text of query i or of its positive, or with an answer in common; i itself.
    weight: float32 [B], of each query's contrastive loss; below 1 for a positive that mine found suspicious.
    weighted: whether any weight is not 1; kept beside them, since to ask a card for it would wait for the card.
    """

    positive: torch.Tensor
    group: torch.Tensor
    teacher: torch.Tensor
    relevant: torch.Tensor
    other: torch.Tensor
    equal: torch.Tensor
    alike: torch.Tensor
    weight: torch.Tensor
    weighted: bool = True

    @property
    def answers(self) -> torch.Tensor:
        """bool [B, M]: the positive, the documents known to be relevant, and those of an equal text."""
        return (self.relevant | self.equal).scatter(1, self.positive[:, None], True)

    @property
    def copies(self) -> torch.Tensor:
        """bool [B, M]: equal texts, without the positive itself."""
        return self.equal.scatter(1, self.positive[:, None], False)

    def mapped(self, change: Callable[[torch.Tensor], torch.Tensor]) -> "Targets":
        """The same targets with `change` of each tensor: in pinned memory, or on another device."""
        changed: dict[str, Any] = {
            name: change(part) for name, part in vars(self).items() if isinstance(part, torch.Tensor)
        }
        return replace(self, **changed)


def make_targets(
    group: torch.Tensor,
    teacher: torch.Tensor,
    relevant: torch.Tensor,
    other: torch.Tensor,
    weight: torch.Tensor,
    query_texts: Sequence[str],
    document_texts: Sequence[str],
) -> Targets:
    """Targets of a batch: equal texts are found, and taken out of the groups.

    Two texts are equal when their words are: case, punctuation and spaces are ignored.
    """
    queries, documents = _numbered(query_texts, document_texts)
    positive = group[:, 0].clone()
    answers = documents[positive.numpy()]
    equal = _equals(queries, documents) | _equals(answers, documents)
    group = group.clone()
    copies = equal.gather(1, group.clamp_min(0)) & (group >= 0)
    copies[:, 0] = False
    group[copies] = -1
    known = (relevant | equal).scatter(1, positive[:, None], True)
    shared = known[:, positive]  # [i, j]: query j's positive answers query i
    alike = shared | shared.T | _equals(queries, queries) | _equals(answers, queries)
    weighted = bool((weight != 1).any())
    return Targets(positive, group, teacher, relevant, other, equal, alike, weight, weighted)


def _numbered(*sides: Sequence[str]) -> list[np.ndarray]:
    """Each side's texts as numbers: equal texts have equal numbers."""
    numbers: dict[str, int] = {}
    return [
        np.array([numbers.setdefault(normalise(text, punctuation=False), len(numbers)) for text in texts])
        for texts in sides
    ]


def _equals(rows: np.ndarray, columns: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(rows[:, None] == columns[None, :])
