"""What the tests of retrieve and score share: both stages in one folder."""

from pathlib import Path

from components.config import EngineParams
from components.teacher import retrieve, score
from tests.teacher.conftest import FakeContext, make_context, retrieve_params, score_params

CROSS_ENCODER = {"reranker": "cross_encoder", "model": "reranker", "max_tokens": 128}


def run_both(folder: Path, models: Path, engine: EngineParams | None = None, **scoring: object) -> FakeContext:
    """Retrieve, then score; returns the context of score."""
    engine = engine or EngineParams()
    retrieve.run(make_context(folder, models, retrieve=retrieve_params(engine=engine)))  # type: ignore[arg-type]
    context = make_context(
        folder, models, "score", retrieve=retrieve_params(), score=score_params(engine=engine, **scoring)
    )
    score.run(context)  # type: ignore[arg-type]  # a context with the few sections that score reads
    return context


def written(folder: Path, models: Path, engine: EngineParams, **scoring: object) -> tuple[bytes, bytes]:
    scores = run_both(folder, models, engine, **scoring).out / "teacher_scores.parquet"
    return (folder / "outputs" / "retrieve" / "candidates.parquet").read_bytes(), scores.read_bytes()
