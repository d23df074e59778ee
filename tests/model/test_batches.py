"""A GPU whose memory is too small for a batch: smaller batches, said once, and every text once."""

import logging
from collections.abc import Callable

import numpy as np
import pytest
import torch

from components.base.errors import UserError
from components.model.batches import TokenBatches, batch_rows, token_batches

LENGTHS = [8, 40, 16, 64, 24, 8, 32, 48]


def of_memory(tokens: int, passes: list[int]) -> Callable[[list[int], int], list[int]]:
    """A forward pass on a card that holds so many tokens."""

    def compute(members: list[int], length: int) -> list[int]:
        passes.append(len(members) * length)
        if passes[-1] > tokens:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return [LENGTHS[place] for place in members]

    return compute


def test_the_budget_is_halved_and_kept_and_no_text_is_lost_or_computed_twice(caplog: pytest.LogCaptureFixture) -> None:
    batches, passes = TokenBatches(512, fixed=False), []
    with caplog.at_level(logging.WARNING):
        parts = list(batches.run(LENGTHS, of_memory(100, passes)))
    found = [pair for members, own in parts for pair in zip(members, own, strict=True)]
    assert sorted(found) == list(enumerate(LENGTHS))
    assert batches.budget <= 128
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == sum(one > 100 for one in passes) > 0
    assert said[0] == "out of GPU memory with 8 texts of 64 tokens in one pass; going on with 256 tokens a pass"
    before = len(passes)
    list(batches.run(LENGTHS, of_memory(100, passes)))
    assert passes[before] < passes[0]  # the next shard starts with less


def test_one_text_that_does_not_fit_is_named() -> None:
    with pytest.raises(UserError, match=r"a text of 64 tokens does not fit into the GPU's memory.*lower max_tokens"):
        list(TokenBatches(512, fixed=False).run(LENGTHS, of_memory(32, [])))


def test_batches_cover_every_pair_within_the_budget() -> None:
    lengths = np.random.default_rng(0).integers(1, 200, 500).tolist()
    seen = []
    for members, padded in token_batches(lengths, budget=1024):
        assert len(members) <= batch_rows(padded, 1024) <= 1024 // padded
        assert all(0 <= padded - lengths[i] < 8 for i in members)
        seen += members
    assert sorted(seen) == list(range(500))
