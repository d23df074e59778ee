"""A source's own teacher scores: on the reranker's scale, and only where the reranker agrees."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from components.config import EngineParams
from components.data.inputs import Inputs
from components.teacher.source_scores import NO_SCORES, SAMPLE, on_our_scale


@dataclass(frozen=True)
class Numbers:
    """Texts that are their rows."""

    def take(self, rows: np.ndarray) -> list[str]:
        return [str(row) for row in rows]


@dataclass
class Reranker:
    """2 x + 1 of the source's scores x (the document's row / 100) for the queries of the first task; else noise."""

    asked: list[tuple[str, str]]

    def score(self, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
        self.asked += pairs
        noise = np.random.default_rng(0).normal(size=len(pairs))
        return np.array(
            [2 * int(d) / 100 + 1 if int(q) < 400 else z for (q, d), z in zip(pairs, noise, strict=True)],
            dtype=np.float32,
        )


def inputs_of(*tasks: tuple[str, int]) -> Inputs:
    names = [name for name, number in tasks for _ in range(number)]
    queries = pl.DataFrame({"row": range(len(names)), "task": names}, schema_overrides={"row": pl.UInt32})
    return Inputs(pl.DataFrame(), queries, pl.DataFrame())


def mapped(tmp_path: Path, inputs: Inputs, reranker: Reranker) -> pl.DataFrame:
    rows = inputs.queries["row"]
    given = pl.DataFrame({"query": rows, "document": rows % 97, "score": (rows % 97) / 100}, schema=NO_SCORES.schema)
    texts: Any = (Numbers(), Numbers())
    return on_our_scale(given, inputs, reranker, texts, tmp_path, 0, EngineParams(), 1)


def test_scores_are_mapped_by_the_line_of_pairs_that_both_scored(tmp_path: Path) -> None:
    reranker = Reranker([])
    found = mapped(tmp_path, inputs_of(("a", 400)), reranker)
    np.testing.assert_allclose(found["score"].to_numpy(), 2 * found["document"].to_numpy() / 100 + 1, atol=1e-5)
    assert len(found) == 400
    assert len(set(reranker.asked)) == SAMPLE  # the others are not scored by it


def test_a_task_whose_scores_disagree_is_named_and_left_to_the_reranker(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = mapped(tmp_path, inputs_of(("a", 400), ("noise", 300)), Reranker([]))
    assert found["query"].max() == 399
    (warning,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warning.startswith("noise: the source's own 300 scores are not used: on 256 pairs their Spearman")


def test_a_handful_of_scores_is_not_used(tmp_path: Path) -> None:
    assert mapped(tmp_path, inputs_of(("a", 19)), Reranker([])).is_empty()
