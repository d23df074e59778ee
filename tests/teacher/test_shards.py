"""The shards of retrieve and score: the same bytes wherever they run, and a kill loses none that is finished."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.base.files import whole_file
from components.config import EngineParams
from components.teacher import dense, pool_search, rescoring, retrieve, score
from components.teacher.rescoring import score_shard as plain_score_shard
from tests.teacher.both_stages import CROSS_ENCODER, run_both, written
from tests.teacher.conftest import make_context, retrieve_params, score_params
from tests.warm import kill_worker, start_warm


@pytest.mark.slow
@pytest.mark.parametrize("scoring", [{}, CROSS_ENCODER])
def test_the_number_of_shards_changes_no_byte(
    tmp_path: Path, models: Path, scoring: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = written(tmp_path / "whole", models, EngineParams(), **scoring)
    monkeypatch.setattr(rescoring, "PAIRS_A_SHARD", 16)
    assert written(tmp_path / "cut", models, EngineParams(shard=3), **scoring) == whole


@pytest.mark.slow
@pytest.mark.parametrize("scoring", [{}, CROSS_ENCODER])
def test_two_worker_processes_change_no_byte(
    tmp_path: Path, models: Path, warm_pools: None, scoring: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = written(tmp_path / "whole", models, EngineParams(), **scoring)
    monkeypatch.setattr(rescoring, "PAIRS_A_SHARD", 16)
    assert written(tmp_path / "processes", models, EngineParams(workers=2, shard=24), **scoring) == whole


@pytest.mark.slow
def test_two_dask_workers_change_no_byte(
    tmp_path: Path, models: Path, dask_engine: EngineParams, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = written(tmp_path / "whole", models, EngineParams())
    monkeypatch.setattr(pool_search, "QUERIES_A_SHARD", 5)
    assert written(tmp_path / "dask", models, dask_engine.model_copy(update={"shard": 24})) == whole


@pytest.mark.slow
def test_a_worker_that_dies_in_the_middle_of_scoring_loses_nothing(
    tmp_path: Path, models: Path, dask_engine: EngineParams, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run_both(tmp_path / "whole", models, **CROSS_ENCODER).out / "teacher_scores.parquet"
    retrieve.run(make_context(tmp_path, models))  # type: ignore[arg-type]
    monkeypatch.setattr(rescoring, "PAIRS_A_SHARD", 32)
    monkeypatch.setattr(rescoring, "score_shard", score_or_die)
    context = make_context(tmp_path, models, "score", score=score_params(engine=dask_engine, **CROSS_ENCODER))
    score.run(context)  # type: ignore[arg-type]
    assert (tmp_path / "work" / "died").exists()
    assert (context.out / "teacher_scores.parquet").read_bytes() == whole.read_bytes()


def score_or_die(out: Path, *shard: Any) -> None:
    """Kills its own worker with a shard half written, once."""
    mark = out.parents[1] / "died"
    if out.stem.endswith("-000000000") and not mark.exists():
        mark.touch()
        with whole_file(out) as partial:
            partial.write_bytes(b"half of it")
            kill_worker()
    plain_score_shard(out, *shard)


def slowed(shard_work: Callable[..., None]) -> Callable[..., None]:
    """The same with half a second after every shard, for a test to kill in."""

    def slow(*shard: Any) -> None:
        shard_work(*shard)
        time.sleep(0.5)

    return slow


def score_slowly(folder: Path, models: Path) -> None:
    """The score stage in a process of its own."""
    rescoring.PAIRS_A_SHARD = 8
    rescoring.score_shard = slowed(plain_score_shard)
    score.run(make_context(folder, models, "score", score=score_params(**CROSS_ENCODER)))  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_killed_stage_continues_with_the_shards_that_are_missing(
    tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run_both(tmp_path / "whole", models, **CROSS_ENCODER).out / "teacher_scores.parquet"
    retrieve.run(make_context(tmp_path, models))  # type: ignore[arg-type]
    shards = tmp_path / "work" / "scores"
    running = start_warm(score_slowly, tmp_path, models)
    deadline = time.monotonic() + 300
    while len(list(shards.glob("*.npy"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    running.kill()
    running.join()
    finished = {file: file.stat().st_mtime_ns for file in shards.glob("*.npy")}
    assert len(finished) >= 3
    monkeypatch.setattr(rescoring, "PAIRS_A_SHARD", 8)
    context = make_context(tmp_path, models, "score", score=score_params(**CROSS_ENCODER))
    score.run(context)  # type: ignore[arg-type]
    assert len(list(shards.glob("*.npy"))) > len(finished)
    assert all(file.stat().st_mtime_ns == when for file, when in finished.items())  # not computed again
    assert (context.out / "teacher_scores.parquet").read_bytes() == whole.read_bytes()


def retrieve_slowly(folder: Path, models: Path) -> None:
    """The retrieve stage in a process of its own."""
    dense.embed_rows = slowed(dense.embed_rows)
    params = retrieve_params(engine=EngineParams(shard=4))
    retrieve.run(make_context(folder, models, retrieve=params))  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_killed_retrieve_embeds_only_what_is_missing(tmp_path: Path, models: Path) -> None:
    whole, _ = written(tmp_path / "whole", models, EngineParams())
    make_context(tmp_path, models)

    def segments() -> set[Path]:
        return {file.parent for file in (tmp_path / "cache").rglob("[0-9a-f]*/keys.npy")}

    running = start_warm(retrieve_slowly, tmp_path, models)
    deadline = time.monotonic() + 300
    while len(segments()) < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    running.kill()
    running.join()
    finished = {folder: (folder / "keys.npy").stat().st_mtime_ns for folder in segments()}
    assert len(finished) >= 3
    context = make_context(tmp_path, models)
    retrieve.run(context)  # type: ignore[arg-type]
    stored = [key for folder in segments() for key in np.load(folder / "keys.npy").tolist()]
    assert len(stored) == len({tuple(key) for key in stored})  # nothing was embedded twice
    assert all((folder / "keys.npy").stat().st_mtime_ns == when for folder, when in finished.items())
    assert (context.out / "candidates.parquet").read_bytes() == whole
