"""The dense teacher's texts: embedded once, in any shards, with token vectors where they are asked for."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from components.config import DenseTeacherParams, EngineParams
from components.contracts.texts import Texts, write_texts
from components.model.sentence_model import PLAIN, Side
from components.model.stored_embedder import MissingVectorError
from components.teacher.dense import EmbeddedTexts, Rows

TEXTS = [f"text {i} " + "long " * (i % 17) for i in range(60)]


def embedded(models: Path, cache: Path, name: str = "dense", **params: object) -> EmbeddedTexts:
    return EmbeddedTexts(models, name, DenseTeacherParams.model_validate(params), cache)


def rows_of(texts: list[str], folder: Path, side: Side = PLAIN) -> Rows:
    """All rows of a file of these texts."""
    file = folder / f"{content_key(texts)}.arrow"
    write_texts(texts, file)
    return Rows(side, Texts(file), np.arange(len(texts)))


def content_key(texts: list[str]) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


def fill(teacher: EmbeddedTexts, texts: list[str], prompt: str = "", shard: int = 16) -> int:
    rows = rows_of(texts, teacher.store, Side(prompt))
    return teacher.fill([rows], "test", EngineParams(shard=shard), threads=2)


def read(teacher: EmbeddedTexts, texts: list[str], side: Side = PLAIN) -> np.ndarray:
    return teacher.all(rows_of(texts, teacher.store, side))


@pytest.mark.slow
def test_nothing_is_embedded_twice(models: Path, tmp_path: Path) -> None:
    assert fill(embedded(models, tmp_path), [*TEXTS, *TEXTS]) == len(set(TEXTS))
    assert fill(embedded(models, tmp_path), [*TEXTS, "one more"]) == 1
    assert fill(embedded(models, tmp_path), TEXTS, prompt="query: ") == len(set(TEXTS))


@pytest.mark.slow
def test_changed_weights_embed_anew(models: Path, tmp_path: Path) -> None:
    fill(embedded(models, tmp_path), TEXTS)
    assert fill(embedded(models, tmp_path, "other"), TEXTS) == len(set(TEXTS))
    a, b = (read(embedded(models, tmp_path, name), TEXTS) for name in ("dense", "other"))
    assert not np.allclose(a, b)


@pytest.mark.slow
def test_vectors_do_not_depend_on_the_shards(models: Path, tmp_path: Path) -> None:
    for shard in (1000, 7):
        fill(embedded(models, tmp_path / str(shard)), TEXTS, shard=shard)
    a, b = (read(embedded(models, tmp_path / str(shard)), TEXTS) for shard in (1000, 7))
    assert a.tobytes() == b.tobytes()


@pytest.mark.slow
def test_token_vectors_asked_for_later_are_added(models: Path, tmp_path: Path) -> None:
    fill(embedded(models, tmp_path), TEXTS)
    late = embedded(models, tmp_path, token_vectors=True)
    assert fill(late, TEXTS) == len(set(TEXTS))
    assert fill(late, TEXTS) == 0


@pytest.mark.slow
def test_all_sides_are_filled_in_one_run(models: Path, tmp_path: Path) -> None:
    both = embedded(models, tmp_path)
    wanted = [
        rows_of(TEXTS, tmp_path),
        rows_of(TEXTS[:9], tmp_path),  # no new text
        rows_of(TEXTS[:5], tmp_path, Side("query: ")),
    ]
    assert both.fill(wanted, "test", EngineParams(shard=16), threads=2) == len(set(TEXTS)) + 5
    assert both.fill(wanted, "test", EngineParams(shard=16), threads=2) == 0
    assert not np.allclose(read(both, TEXTS[:5]), read(both, TEXTS[:5], Side("query: ")))


@pytest.mark.slow
def test_a_text_that_was_not_filled_is_never_embedded_by_reading(models: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingVectorError):
        read(embedded(models, tmp_path), ["never filled"])
