"""Search of a pool in shards: a killed one goes on."""

from pathlib import Path
from typing import Any

import pytest

from components.config import EngineParams
from components.teacher import pool_search, retrieve
from tests.teacher.both_stages import written
from tests.teacher.conftest import make_context


@pytest.mark.slow
def test_a_search_goes_on_with_the_shards_that_are_missing(
    tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = written(tmp_path / "whole", models, EngineParams())
    monkeypatch.setattr(pool_search, "QUERIES_A_SHARD", 5)
    plain, calls = pool_search.search_shard, []

    def break_at_the_third(*shard: Any, **threads: int) -> None:
        calls.append(shard[0])
        if len(calls) == 3:
            raise KeyboardInterrupt
        plain(*shard, **threads)

    monkeypatch.setattr(pool_search, "search_shard", break_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        retrieve.run(make_context(tmp_path, models))  # type: ignore[arg-type]
    context = make_context(tmp_path, models)
    retrieve.run(context)  # type: ignore[arg-type]
    assert calls[3] == calls[2]  # the first two are not searched again
    assert (context.out / "candidates.parquet").read_bytes() == whole
