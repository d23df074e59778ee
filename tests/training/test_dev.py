"""Dev checks: nDCG@10 over a sample of the dev queries and of the documents that could answer them."""

from typing import Any

import numpy as np
import pytest
import torch

from components.config import DevParams
from components.training.dev import DevCheck

CPU = torch.device("cpu")


class LastWord:
    """An encoder whose vectors are one-hot by a text's last word; the texts in `zeros` get a vector of zeros."""

    def __init__(self, words: list[str], zeros: set[str]) -> None:
        self.words, self.zeros = words, zeros

    def encode_queries(self, texts: list[str], instruction: str) -> np.ndarray:
        return self.encode_documents(texts)

    def encode_documents(self, texts: list[str]) -> np.ndarray:
        rows = [[text not in self.zeros and text.split()[-1] == word for word in self.words] for text in texts]
        return np.array(rows, dtype=float)


def dev_check(data: Any, documents: int) -> DevCheck:
    return DevCheck(data, DevParams(every=1, queries=4, documents=documents), seed=3)


def test_score_is_the_mean_over_queries(data: Any) -> None:
    check = dev_check(data, documents=8)
    words = [text.split()[-1] for text in data.document_text.take(check.documents["words"])]
    assert check.score(LastWord(words, set()), CPU) == 1.0  # type: ignore[arg-type]
    first = check.queries["words"][:1]
    ranks = [2 + check.documents["words"].tolist().index(row) for row in data.judgements.of(first)[1]]  # equal scores
    missed = LastWord(words, set(data.query_text.take(first)))
    assert check.score(missed, CPU) == pytest.approx((3 + 1 / np.log2(ranks[0])) / 4)  # type: ignore[arg-type]


@pytest.mark.parametrize("documents", [1, 8])
def test_documents_that_answer_are_always_sampled(data: Any, documents: int) -> None:
    check = dev_check(data, documents)
    needed = data.judgements.of(check.queries["words"])[1]
    assert set(needed) <= set(check.documents["words"])
