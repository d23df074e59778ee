"""n of m mined negatives, anew each epoch, the same for the same seed."""

import hashlib
from collections.abc import Sequence
from typing import Literal

import numpy as np


def draw_negatives(
    query_id: str,
    scores: Sequence[float],
    number: int,
    seed: int,
    epoch: int,
    by: Literal["uniform", "score"] = "uniform",
    temperature: float = 0.05,
) -> list[int]:
    """Positions of `number` of a query's mined negatives, ascending; all of them when there are no more.

    The draw depends on seed, epoch and query only, so it survives a resume and any order of the data.

    Args:
        scores: the teacher's scores of the negatives.
        by: uniform (F2LLM, arXiv 2510.02294: 7 of 24 an epoch), or in proportion to exp(score / temperature).
        temperature: on the scale of the scores; smaller draws harder negatives.

    >>> draw_negatives("q1", [0.5, 0.4, 0.3], number=3, seed=7, epoch=0)
    [0, 1, 2]
    """
    if number >= len(scores):
        return list(range(len(scores)))
    key = hashlib.sha256(f"{seed} {epoch} {query_id}".encode()).digest()
    random = np.random.Generator(np.random.PCG64(int.from_bytes(key[:16], "big")))
    noise = random.gumbel(size=len(scores))  # the largest of (log weight + Gumbel noise) are a draw without replacement
    logits = np.asarray(scores, dtype=np.float64) / temperature if by == "score" else np.zeros(len(scores))
    return sorted(int(i) for i in np.argsort(-(logits + noise), kind="stable")[:number])
