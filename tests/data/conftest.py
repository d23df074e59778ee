"""A small world for the data stages: local sources that the test writes, and only the parameters the stages read."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from components.config import Config, FetchParams, PrepareParams
from components.data.local_files import write_list
from components.stage.context import StageContext

settings.register_profile("thorough", max_examples=10_000, deadline=None)  # --hypothesis-profile=thorough
Rows = list[dict[str, Any]]
MakeContext = Callable[[dict[str, Any], dict[str, Any]], StageContext]


def write_jsonl(path: Path, rows: Rows) -> Path:
    """One JSON object a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def local(path: Path, format: str = "jsonl", **more: Any) -> dict[str, Any]:
    """Parameters of a local source."""
    return {"origin": {"kind": "local", "path": str(path), "licence": "CC0"}, "format": format, **more}


def task(source: str, kind: str = "retrieval", **more: Any) -> dict[str, Any]:
    """Parameters of a task."""
    return {"source": source, "kind": kind, "instruction": "Find the answer", **more}


@pytest.fixture
def make_context(tmp_path: Path) -> MakeContext:
    """A stage context below the test's folder, from the sources and tasks of the test."""

    def make(sources: dict[str, Any], tasks: dict[str, Any]) -> StageContext:
        config = Config.model_construct(
            seed=7,
            threads=1,
            fetch=FetchParams.model_validate({"sources": sources, "models": {}}),
            prepare=PrepareParams.model_validate({"tasks": tasks}),
        )
        outputs, out, work, cache = (tmp_path / name for name in ("outputs", "out", "work", "cache"))
        return StageContext(config, outputs, out, work, cache, log=lambda metrics, step: None)

    return make


def run_stages(context: StageContext) -> dict[str, float]:
    """fetch, then prepare, each in its folder of `outputs`; returns prepare's metrics."""
    from dataclasses import replace

    from components.data import fetch, prepare

    write_list(context.config.fetch, context.outputs, context.cache.parent)
    for stage in (fetch, prepare):
        out = context.outputs / stage.__name__.rpartition(".")[2]
        out.mkdir(parents=True, exist_ok=True)
        metrics = stage.run(replace(context, out=out))
    return metrics
