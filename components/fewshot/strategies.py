"""Strategies that order a pool of candidates for few-shot prompts; the first k are the k shots.

    random          pool order (hashed)
    diverse         greedy k-center over query vectors (Gonzalez 1985), from the most central one outwards
    hard            smallest margin between own and best other response, among pairs the teacher ranks right
    class_balanced  labels in turn, most frequent first; within a label the most central text
    reranker_best   the highest teacher score of the pair

Vectors are those of the dense teacher, so they do not depend on the trained student.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from components.data.shot_pool import Candidate


@dataclass(frozen=True)
class Evidence:
    """Input of the strategies: arrays aligned with the candidates.

    queries, responses: float32 [n, dim], L2-normalised; responses are [0, dim] when `hard` is not among the strategies.
    scores: float64 [n], the teacher's scores of the pairs; NaN where there is none.
    """

    candidates: Sequence[Candidate]
    queries: np.ndarray
    responses: np.ndarray
    scores: np.ndarray


def random_order(evidence: Evidence) -> list[int]:
    """Pool order."""
    return list(range(len(evidence.candidates)))


def diverse(evidence: Evidence) -> list[int]:
    """Each next candidate is the one farthest from all chosen."""
    vectors = evidence.queries
    order = [int(np.argmax(vectors @ vectors.mean(axis=0)))]
    nearest = vectors @ vectors[order[0]]  # cosine to the nearest chosen candidate
    while len(order) < len(vectors):
        nearest[order] = np.inf
        order.append(int(np.argmin(nearest)))
        nearest = np.maximum(nearest, vectors @ vectors[order[-1]])
    return order


def hard(evidence: Evidence) -> list[int]:
    """Smallest non-negative margin first; pairs the teacher ranks wrong come last, since their label may be wrong."""
    similarity = evidence.queries @ evidence.responses.T  # [n, n]
    own = similarity.diagonal().copy()
    texts = np.array([one.response for one in evidence.candidates])
    similarity[texts[:, None] == texts[None, :]] = -np.inf
    margin = own - similarity.max(axis=1)
    margin[np.isinf(margin)] = 2.0  # the pool has one response only
    return sorted(range(len(margin)), key=lambda i: (margin[i] < 0, abs(margin[i]), i))


def class_balanced(evidence: Evidence) -> list[int]:
    """One text of each label in turn; empty when the task has no labels."""
    members: dict[str, list[int]] = {}
    for i, one in enumerate(evidence.candidates):
        if one.label is not None:
            members.setdefault(one.label, []).append(i)
    for group in members.values():
        vectors = evidence.queries[group]
        central = vectors @ vectors.mean(axis=0)
        group[:] = [group[int(i)] for i in np.argsort(-central, kind="stable")]
    labels = sorted(members, key=lambda label: (-len(members[label]), label))
    depth = max((len(group) for group in members.values()), default=0)
    return [members[label][turn] for turn in range(depth) for label in labels if turn < len(members[label])]


def reranker_best(evidence: Evidence) -> list[int]:
    """Highest score first; candidates without a teacher score are dropped."""
    known = [i for i in range(len(evidence.candidates)) if np.isfinite(evidence.scores[i])]
    return sorted(known, key=lambda i: (-evidence.scores[i], i))


STRATEGIES: dict[str, Callable[[Evidence], list[int]]] = {
    "random": random_order,
    "diverse": diverse,
    "hard": hard,
    "class_balanced": class_balanced,
    "reranker_best": reranker_best,
}
