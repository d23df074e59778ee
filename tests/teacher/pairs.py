"""Pairs to score, and the check that a score does not depend on the other pairs."""

import numpy as np

from components.teacher.cross_encoder import CrossEncoderTeacher
from components.teacher.llm_reranker import LlmTeacher

PAIRS = [(f"query {i}", "a document about rivers " * (1 + i % 5)) for i in range(20)]


def check_independence(teacher: CrossEncoderTeacher | LlmTeacher) -> None:
    """Alone, in any order and in any subset, a pair's score has the same bits."""
    together = teacher.score(PAIRS)
    assert teacher.score(PAIRS[7:8]).tobytes() == together[7:8].tobytes()
    random = np.random.default_rng(0)
    for size in (20, 17, 9, 3):
        chosen = random.permutation(len(PAIRS))[:size]
        assert teacher.score([PAIRS[i] for i in chosen]).tobytes() == together[chosen].tobytes()
