"""The dense teacher: same vectors as sentence-transformers, independent of neighbours, embedded once."""

from pathlib import Path

import numpy as np
import pytest

from components.base.errors import UserError
from components.config import DenseTeacherParams, EngineParams
from components.teacher.dense import PLAIN, DenseTeacher, EmbeddedTexts, Side

TEXTS = [f"text {i} " + "long " * (i % 17) for i in range(60)]


@pytest.fixture(scope="module")
def teacher(models: Path) -> DenseTeacher:
    return DenseTeacher.load(models, "dense", DenseTeacherParams())


def test_same_vectors_as_sentence_transformers(teacher: DenseTeacher) -> None:
    vectors, matrices = teacher.encode(TEXTS, tokens=True)
    expected = teacher.model.encode(TEXTS, normalize_embeddings=True)
    np.testing.assert_allclose(vectors, expected, atol=1e-5)
    hidden = teacher.model.encode(TEXTS[3], output_value="token_embeddings").numpy()[1:-1]  # without [CLS], [SEP]
    hidden /= np.linalg.norm(hidden, axis=1, keepdims=True)
    np.testing.assert_allclose(matrices[3], hidden, atol=1e-3)


def test_a_vector_does_not_depend_on_its_neighbours(teacher: DenseTeacher) -> None:
    together = teacher.encode(TEXTS, tokens=False)[0]
    for i in (0, 16, 59):
        assert teacher.encode([TEXTS[i]], tokens=False)[0].tobytes() == together[i].tobytes()


def test_texts_are_cut_to_max_tokens(models: Path) -> None:
    short = DenseTeacher.load(models, "dense", DenseTeacherParams(max_tokens=10))
    a, b = short.encode(["abcdefgh then one end", "abcdefgh then another"], tokens=False)[0]
    np.testing.assert_array_equal(a, b)
    assert short.identity != DenseTeacher.load(models, "dense", DenseTeacherParams()).identity


def embedded(models: Path, cache: Path, name: str = "dense", **params: object) -> EmbeddedTexts:
    return EmbeddedTexts(models, name, DenseTeacherParams.model_validate(params), cache)


def fill(texts: EmbeddedTexts, rows: list[str], prompt: str = "", shard: int = 16) -> int:
    return texts.fill(rows, Side(prompt), "test", shard, EngineParams(), threads=2)


def test_nothing_is_embedded_twice(models: Path, tmp_path: Path) -> None:
    assert fill(embedded(models, tmp_path), [*TEXTS, *TEXTS]) == len(set(TEXTS))
    assert fill(embedded(models, tmp_path), [*TEXTS, "one more"]) == 1
    assert fill(embedded(models, tmp_path), TEXTS, prompt="query: ") == len(set(TEXTS))


def test_changed_weights_embed_anew(models: Path, tmp_path: Path) -> None:
    fill(embedded(models, tmp_path), TEXTS)
    assert fill(embedded(models, tmp_path, "other"), TEXTS) == len(set(TEXTS))
    a, b = (embedded(models, tmp_path, name).all(TEXTS, PLAIN) for name in ("dense", "other"))
    assert not np.allclose(a, b)


def test_vectors_do_not_depend_on_the_shards(models: Path, tmp_path: Path) -> None:
    for shard in (1000, 7):
        fill(embedded(models, tmp_path / str(shard)), TEXTS, shard=shard)
    a, b = (embedded(models, tmp_path / str(shard)).all(TEXTS, PLAIN) for shard in (1000, 7))
    assert a.tobytes() == b.tobytes()


def test_token_vectors_asked_for_later_are_added(models: Path, tmp_path: Path) -> None:
    fill(embedded(models, tmp_path), TEXTS)
    late = embedded(models, tmp_path, token_vectors=True)
    assert fill(late, TEXTS) == len(set(TEXTS))
    assert fill(late, TEXTS) == 0


def test_a_missing_model_is_named(models: Path) -> None:
    with pytest.raises(UserError, match="nowhere"):
        DenseTeacher.load(models, "nowhere", DenseTeacherParams())
