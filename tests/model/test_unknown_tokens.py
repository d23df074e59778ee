"""Texts that a tokenizer cannot represent are a warning, task by task."""

from pathlib import Path

import polars as pl
import pytest

from components.model.unknown_tokens import load_plain_tokenizer, sample_tasks, warn_unknown_tokens
from tests.teacher.conftest import make_reranker
from tests.training.made_data import Listed

TEXTS = ["where is it?", "返品はできますか", "in the box", "箱の中です"]


@pytest.fixture(scope="module")
def english(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reranker whose tokenizer knows Latin letters only."""
    return make_reranker(tmp_path_factory.mktemp("reranker"))


def test_each_task_of_unknown_tokens_is_one_line(english: Path, caplog: pytest.LogCaptureFixture) -> None:
    tokenizer = load_plain_tokenizer(english)
    table = pl.DataFrame({"row": range(4), "task": ["en", "ja"] * 2})
    samples = sample_tasks((Listed(TEXTS, []), table))
    assert samples == {"en": TEXTS[::2], "ja": TEXTS[1::2]}
    found = warn_unknown_tokens("teacher", tokenizer, samples)
    assert list(found) == ["ja"]
    assert found["ja"] > 0.9
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith("ja: ")
    assert "are unknown to the tokenizer of teacher" in line
    assert "sample of 2 texts), which cannot tell such texts apart; take a model" in line


def test_a_tokenizer_of_bytes_knows_every_text(tiny_student: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert warn_unknown_tokens("student", load_plain_tokenizer(tiny_student), {"ja": TEXTS[1::2]}) == {}
    assert not caplog.records


def test_a_sample_is_spread_over_the_rows() -> None:
    rows = pl.DataFrame({"row": range(1000), "task": "a"})
    read: list[int] = []
    assert len(sample_tasks((Listed(["x"] * 1000, read), rows))["a"]) == 100
    assert (read[0], read[-1]) == (0, 990)
