"""A GPU that a row does not fit on: smaller rows, the same vectors, and the encoder goes on with what fits."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from components.base.errors import UserError
from components.config import EncoderParams, PromptParams
from components.model import encoder as module
from components.model.encoder import Encoder

PARAMS = PromptParams(template="plain", query_tokens=64, document_tokens=64)
TEXTS = [f"a text of {'some ' * number}words" for number in range(12)]


@pytest.fixture
def encoder(tiny_student: Path) -> Encoder:
    return Encoder.load(tiny_student, PARAMS, EncoderParams(device="cpu", precision="fp32"))


def card_of(tokens: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A card on which a row of more tokens does not fit."""
    pooled = module.pooled

    def too_small(backbone: Any, row: Any, pooling: Any) -> Any:
        if row.tokens > tokens:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return pooled(backbone, row, pooling)

    monkeypatch.setattr(module, "pooled", too_small)


def test_smaller_rows_give_the_same_vectors_and_are_kept(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    whole, computed = encoder.encode_queries(TEXTS, "Do it"), encoder.tokens
    card_of(computed // 2, monkeypatch)
    with caplog.at_level(logging.WARNING):
        parts = encoder.encode_queries(TEXTS, "Do it")
        again = encoder.encode_queries(TEXTS, "Do it")
    np.testing.assert_allclose(parts, whole, atol=1e-5)
    np.testing.assert_allclose(again, whole, atol=1e-5)
    assert encoder.budget <= computed // 2
    assert len(caplog.records) == 1
    assert f"12 texts in a row of {computed:,} tokens" in caplog.text


def test_a_text_that_does_not_fit_is_named(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    card_of(8, monkeypatch)
    with pytest.raises(UserError, match=r"a text of \d+ tokens, its prompt included.*lower prompt.prefix_tokens"):
        encoder.encode_documents(TEXTS)
