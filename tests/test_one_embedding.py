"""Across stages: what retrieve embedded with a sentence-transformers model is embedded by no stage after it."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from components.benchmark.prompts import prompt_table
from components.benchmark.tasks import load_benchmark
from components.config import Config, load_config
from components.data.held_out import held_out_texts
from components.evaluation import evaluate
from components.fewshot import select_shots
from components.model.encoder import Encoder
from components.model.load_once import free_model
from components.model.sentence_model import SentenceModel
from components.stage.context import StageContext
from components.teacher import retrieve
from tests.evaluation.fakes import write_benchmark
from tests.fewshot.test_select_shots import write_prepared
from tests.samples import read_prepared_tables, write_prepared_tables
from tests.teacher.conftest import make_dense_teacher


def write_outputs(outputs: Path) -> Path:
    """outputs/prepare, where the texts of the benchmark are documents too, and the teacher of params.yaml."""
    prepared = outputs / "prepare"
    write_prepared(prepared)
    shutil.rmtree(prepared / "benchmark")
    benchmark = write_benchmark(prepared / "benchmark", size=12)
    tables = [(path.stem.split("."), pl.read_parquet(path)) for path in sorted(benchmark.glob("*.parquet"))]
    held_out = [text for (task, table), frame in tables for text in held_out_texts(task, {table: frame}).values()]
    corpus, queries, qrels = read_prepared_tables(prepared)
    more = pl.DataFrame({"doc_id": [f"held-{i}" for i in range(len(held_out))], "text": held_out})
    columns = {"task": pl.lit("find"), "label": pl.lit(None, pl.String), "split": pl.lit(None, pl.String)}
    write_prepared_tables(prepared, pl.concat([corpus, more.with_columns(**columns)]), queries, qrels)
    make_dense_teacher(outputs / "fetch" / "models" / "dense_teacher")
    return outputs


def small_config() -> Config:
    config = load_config(Path("params.yaml"))
    dense = config.retrieve.dense["dense_teacher"].model_copy(update={"max_tokens": None})
    retrieving = config.retrieve.model_copy(update={"dense": {"dense_teacher": dense}})
    selecting = config.select_shots.model_copy(update={"strategies": ["diverse", "hard"]})
    prompt = config.prompt.model_copy(update={"template": "plain"})
    return config.model_copy(update={"retrieve": retrieving, "select_shots": selecting, "prompt": prompt})


@pytest.mark.slow
@pytest.mark.parametrize("shared", [True, False])
def test_a_text_that_retrieve_embedded_is_embedded_by_no_stage_after_it(
    tmp_path: Path, tiny_student: Path, monkeypatch: pytest.MonkeyPatch, shared: bool
) -> None:
    """Without the store that retrieve filled, the same stages embed: the count counts."""
    outputs = write_outputs(tmp_path / "outputs")
    load, forward = Encoder.load, SentenceModel.forward
    monkeypatch.setattr(Encoder, "load", lambda _, prompt, encoder, *rest: load(tiny_student, prompt, encoder))
    embedded: dict[str, list[str]] = {}

    def context(stage: str) -> StageContext:
        free_model()

        def counted(self: SentenceModel, texts: Any, *rest: Any, **tokens: bool) -> tuple[np.ndarray, list[np.ndarray]]:
            embedded.setdefault(stage, []).extend(texts)
            return forward(self, texts, *rest, **tokens)

        monkeypatch.setattr(SentenceModel, "forward", counted)
        folders = {part: tmp_path / part / stage for part in ("out", "work")}
        for folder in folders.values():
            folder.mkdir(parents=True)
        cache = tmp_path / "cache" / ("" if shared else stage)
        return StageContext(small_config(), outputs, cache=cache, log=lambda *_: None, **folders)

    retrieve.run(context("retrieve"))
    select_shots.run(context("select_shots"))
    own = context("evaluate")
    benchmark = load_benchmark(own.config.evaluate, outputs / "prepare/benchmark")
    finished = evaluate._finish("teacher", benchmark, prompt_table(benchmark, {}, {}), own)
    assert len(finished.cost) == 7
    assert len(embedded["retrieve"]) == len(set(embedded["retrieve"])) > 50
    later = {stage: len(texts) for stage, texts in embedded.items() if stage != "retrieve"}
    assert (later == {}) if shared else (set(later) == {"select_shots", "evaluate"}), later
