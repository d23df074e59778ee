"""The encoder: same vectors as one text at a time, and no token spent twice."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from components.base.errors import UserError
from components.config import EncoderParams, PromptParams
from components.model import encoder as encoder_module
from components.model.encoder import Encoder
from components.model.prompt import Shot
from tests.models import make_tiny_student

PROMPT = PromptParams(template="special", prefix_tokens=400)
TEXTS = ["is the sky blue", "a", "is the sky blue", "what is the longest of all these texts"]
SHOTS = [Shot("why", "because")]


def encoder_of(student, store=None, **params) -> Encoder:
    return Encoder.load(student, PROMPT, EncoderParams(device="cpu", **params), store=store)


@pytest.mark.parametrize("params", [{}, {"pooling": "mean"}, {"pooling": "mean", "attention": "bidirectional"}])
def test_a_batch_equals_one_text_at_a_time(tiny_student, params):
    encoder = encoder_of(tiny_student, **params)
    together = encoder.encode_queries(TEXTS, "Find it.", SHOTS)
    alone = np.concatenate([encoder.encode_queries([text], "Find it.", SHOTS) for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)
    assert together.dtype == np.float32


def test_the_prefix_and_equal_texts_are_paid_for_once(tiny_student):
    encoder = encoder_of(tiny_student)
    encoder.encode_queries(TEXTS, "Find it.", SHOTS)
    prefix = len(encoder.prompt.prefix_ids("Find it.", SHOTS))
    own = sum(len(ids) for ids in encoder.prompt.query_ids(list(dict.fromkeys(TEXTS))))
    assert encoder.tokens == prefix + own


def test_the_store_spares_known_texts_but_never_serves_other_weights(tiny_student, tmp_path):
    first = encoder_of(tiny_student, tmp_path / "store")
    expected = first.encode_documents(TEXTS)
    again = encoder_of(tiny_student, tmp_path / "store")
    np.testing.assert_array_equal(again.encode_documents(TEXTS), expected)
    assert again.tokens == 0
    other = encoder_of(make_tiny_student(tmp_path / "other", seed=1), tmp_path / "store")
    assert other.identity != first.identity
    assert np.abs(other.encode_documents(TEXTS) - expected).max() > 0.01


def test_weights_are_loaded_only_when_a_text_is_embedded(tiny_student, tmp_path, monkeypatch):
    """The process that plans, and those that score, must hold no second copy of a 7B model."""
    expected = encoder_of(tiny_student, tmp_path / "store").encode_documents(TEXTS)
    loaded = []
    monkeypatch.setattr(encoder_module, "load_backbone", lambda *rest, **how: loaded.append(how))
    again = encoder_of(tiny_student, tmp_path / "store")
    assert again.dimension == expected.shape[1]
    np.testing.assert_array_equal(again.encode_documents(TEXTS), expected)
    assert not loaded
    with pytest.raises(AttributeError):  # None has no eval()
        again.encode_documents(["a new text"])
    assert loaded == [{"device_map": {"": torch.device("cpu")}}]  # straight to the device, not through the host


@pytest.mark.parametrize("changed", [{"precision": "bf16"}, {"pooling": "mean"}], ids=lambda change: next(iter(change)))
def test_the_identity_follows_how_a_vector_is_made(tiny_student, changed):
    assert encoder_of(tiny_student, **changed).identity != encoder_of(tiny_student).identity


def test_the_identity_follows_the_tokenizer_and_no_batch_size(tiny_student, tmp_path):
    own = encoder_of(tiny_student).identity
    assert encoder_of(tiny_student, token_budget=64).identity == own
    copy = Path(shutil.copytree(tiny_student, tmp_path / "copy"))
    assert encoder_of(copy).identity == own
    with (copy / "tokenizer_config.json").open("a") as file:
        file.write("\n")
    assert encoder_of(copy).identity != own


def test_no_texts_give_no_vectors(tiny_student):
    assert encoder_of(tiny_student).encode_documents([]).shape == (0, 32)


def test_a_missing_model_or_adapter_is_named(tiny_student, tmp_path):
    with pytest.raises(UserError, match="nowhere"):
        encoder_of(tmp_path / "nowhere")
    with pytest.raises(UserError, match="no LoRA adapter"):
        Encoder.load(tiny_student, PROMPT, EncoderParams(device="cpu"), adapter=tmp_path / "nothing")
