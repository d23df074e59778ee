"""SPLADE vectors: those of sentence_transformers.SparseEncoder."""

from pathlib import Path

import numpy as np
import pytest
import torch

from components.base.errors import UserError
from components.teacher import sparse
from components.teacher.sparse import SparseTeacher
from tests.teacher.conftest import _config, _tokenizer

TEXTS = ["what is a fox", "a fox is an animal that lives in woods", "bread and butter", "a"]


@pytest.fixture(scope="module")
def splade(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import BertForMaskedLM

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("splade")
    BertForMaskedLM(_config(len(_tokenizer(folder)))).save_pretrained(folder)
    return folder


def test_similarities_are_the_librarys(splade: Path) -> None:
    from sentence_transformers import SparseEncoder

    library = SparseEncoder(str(splade), device="cpu")
    library.max_seq_length = 16
    vectors = torch.stack([library.encode_document(text, convert_to_sparse_tensor=False) for text in TEXTS])
    pairs = [(query, document) for query in TEXTS for document in TEXTS]
    own = SparseTeacher(splade, 16).score(pairs).reshape(4, 4)
    np.testing.assert_allclose(own, (vectors @ vectors.T).numpy(), rtol=1e-4)
    assert len(np.unique(own)) > 4


def test_a_text_is_encoded_once_while_it_is_kept(splade: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sparse, "_KEPT", 2)
    encoded: list[str] = []
    plain = SparseTeacher._vector
    monkeypatch.setattr(SparseTeacher, "_vector", lambda self, text: encoded.append(text) or plain(self, text))
    teacher = SparseTeacher(splade, 16)
    teacher.score([(TEXTS[0], TEXTS[1]), (TEXTS[0], TEXTS[1])])
    teacher.score([(TEXTS[0], TEXTS[1])])
    assert encoded == TEXTS[:2]
    teacher.score([(TEXTS[2], TEXTS[3])])
    teacher.score([(TEXTS[0], TEXTS[1])])
    assert encoded == [*TEXTS, *TEXTS[:2]]


def test_an_encoder_with_another_pooling_is_refused(splade: Path, tmp_path: Path) -> None:
    from sentence_transformers import SparseEncoder
    from sentence_transformers.sparse_encoder.modules import SpladePooling

    model = SparseEncoder(str(splade), device="cpu")
    SparseEncoder(modules=[model[0], SpladePooling(pooling_strategy="sum")], device="cpu").save(str(tmp_path))
    with pytest.raises(UserError, match="no SPLADE encoder"):
        SparseTeacher(tmp_path, 16)
