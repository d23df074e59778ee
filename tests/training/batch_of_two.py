"""Two queries and four documents, and their loss written out."""

import math

import torch

from components.training.losses import info_nce
from components.training.masks import masked_documents
from components.training.targets import Targets

SCORES = torch.tensor([[0.9, 0.2, 0.4, 0.95], [0.1, 0.8, 0.3, 0.7]], dtype=torch.float64)
TEMPERATURE = 0.1


def targets(relevant=(), equal=(), other=(), group=((0, 2, 3), (1, 3, -1)), weight=(1.0, 1.0)) -> Targets:
    known, same, wrong = (torch.zeros(2, 4, dtype=torch.bool) for _ in range(3))
    for cells, where in ((relevant, known), (equal, same), (other, wrong)):
        for i, j in cells:
            where[i, j] = True
    return Targets(
        positive=torch.tensor([0, 1]),
        group=torch.tensor(group),
        teacher=torch.tensor([[2.0, 1.0, 0.5], [3.0, 1.0, 0.0]], dtype=torch.float64)[:, : len(group[0])],
        relevant=known,
        other=wrong,
        equal=same,
        alike=torch.eye(2, dtype=torch.bool),
        weight=torch.tensor(weight),
    )


def contrast(given: Targets, **masks) -> float:
    return info_nce(SCORES, given, masked_documents(SCORES, given, **masks), TEMPERATURE).item()


def cross_entropy(kept: list[list[int]]) -> float:
    losses = []
    for i, documents in enumerate(kept):
        own = math.exp(SCORES[i, i] / TEMPERATURE)
        losses.append(-math.log(own / sum(math.exp(SCORES[i, j] / TEMPERATURE) for j in documents)))
    return sum(losses) / len(losses)
