"""Rows that are added to the tables: only the pairs that are new are scored, and every byte is that of a fresh run."""

import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from components.teacher.carried_scores import carry_scores
from components.teacher.cross_encoder import CrossEncoderTeacher
from tests.teacher.both_stages import CROSS_ENCODER, run_both
from tests.teacher.conftest import write_prepared


@pytest.mark.slow
def test_an_update_scores_new_pairs_only(tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scored: list[Any] = []
    score = CrossEncoderTeacher.score
    monkeypatch.setattr(CrossEncoderTeacher, "score", lambda self, pairs: scored.extend(pairs) or score(self, pairs))
    run_both(tmp_path, models, **CROSS_ENCODER)
    before = set(scored)
    scored.clear()

    write_prepared(tmp_path / "outputs" / "prepare", per_topic=5)
    shutil.rmtree(tmp_path / "work")
    updated = run_both(tmp_path, models, **CROSS_ENCODER).out / "teacher_scores.parquet"
    assert scored
    assert not before.intersection(scored)
    new = set(scored)
    scored.clear()

    fresh = tmp_path / "fresh"
    write_prepared(fresh / "outputs" / "prepare", per_topic=5)
    whole = run_both(fresh, models, **CROSS_ENCODER).out / "teacher_scores.parquet"
    assert updated.read_bytes() == whole.read_bytes()
    assert new < set(scored) <= new | before
    assert len(pl.read_parquet(whole)) >= len(scored)


def test_without_the_texts_of_the_state_before_nothing_is_carried(tmp_path: Path) -> None:
    (tmp_path / "scores" / "a-b").mkdir(parents=True)
    pairs: Any = None
    carry_scores(tmp_path / "scores" / "c-d", pairs, [], tmp_path)
    assert not (tmp_path / "scores" / "c-d").exists()
