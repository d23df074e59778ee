"""The stage on a tiny random student: what it writes, its bytes, its length budget, and the guard."""

import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from components.base.hashing import content_hash
from components.config import Config, load_config
from components.contracts.shots import read_shots
from components.contracts.tables import QUERIES, write_table
from components.contracts.tasks import Task, read_tasks, write_tasks
from components.data import shot_pool
from components.data.inputs import Inputs
from components.data.shot_pool import Candidate
from components.fewshot import select_shots
from components.fewshot.select_shots import select_fitting_shots
from components.model.encoder import Encoder
from components.model.load_once import free_model
from components.model.prompt import Prompt
from components.model.sentence_model import SentenceModel
from components.stage.context import StageContext
from tests.evaluation.fakes import TOPICS, HashEncoder, sentence
from tests.samples import write_prepared_tables

Log = Callable[[dict[str, float], int | None], None]
LEAKED = "the rose near the soil of some old water bloom over every quiet root"


def write_prepared(folder: Path) -> None:
    """A document task and a label task, eight training and six dev queries each; one training text is a test text."""
    import numpy as np

    random = np.random.default_rng(1)
    topics = [list(TOPICS)[i % 3] for i in range(14)]
    rows: dict[str, list[Any]] = {name: [] for name in ("query_id", "text", "task", "split", "label")}
    corpus: dict[str, list[Any]] = {name: [] for name in ("doc_id", "text", "task", "label", "split")}
    qrels: dict[str, list[Any]] = {"query_id": [], "doc_id": [], "relevance": []}

    def add(table: dict[str, list[Any]], *values: Any) -> None:
        for column, value in zip(table.values(), values, strict=True):
            column.append(value)

    for i, topic in enumerate(topics):
        split = "train" if i < 8 else "dev"
        add(rows, f"find-q{i}", LEAKED if i == 0 else sentence(random, topic), "find", split, None)
        add(corpus, f"find-d{i}", sentence(random, topic), "find", None, None if i < 8 else "dev")
        add(qrels, f"find-q{i}", f"find-d{i}", 1.0)
        add(rows, f"sort-q{i}", sentence(random, topic), "sort", split, topic)
        add(qrels, f"sort-q{i}", f"sort-label-{topic}", 1.0)
    for topic in TOPICS:
        add(corpus, f"sort-label-{topic}", topic, "sort", topic, None)
    types = {"label": pl.String, "split": pl.String}
    write_prepared_tables(
        folder,
        pl.DataFrame(corpus, schema_overrides=types),
        pl.DataFrame(rows, schema_overrides=types),
        pl.DataFrame(qrels),
    )
    tasks = [
        Task("find", "retrieval", "Find it", False, 1.0, "made up", "fakes"),
        Task("sort", "classification", "Sort it", False, 1.0, "made up", "fakes", ("Sorting",)),
    ]
    write_tasks(tasks, folder / "tasks.yaml")
    (folder / "benchmark").mkdir()
    test = pl.DataFrame({"text": [f"{LEAKED} and more of it"], "label": ["garden"]})
    test.write_parquet(folder / "benchmark" / "sort.test.parquet")


def config_of(strategies: list[str]) -> Config:
    config = load_config(Path("params.yaml"))
    params = config.select_shots.model_copy(update={"strategies": strategies, "max_shots": 2})
    prompt = config.prompt.model_copy(update={"template": "plain", "prefix_tokens": 400, "example_tokens": 80})
    return config.model_copy(update={"select_shots": params, "prompt": prompt})


@pytest.fixture
def outputs(tmp_path: Path, tiny_student: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """outputs/prepare, and models that need no download and no adapter."""
    write_prepared(tmp_path / "outputs" / "prepare")
    load = Encoder.load
    monkeypatch.setattr(Encoder, "load", lambda _, prompt, encoder, *rest: load(tiny_student, prompt, encoder))
    monkeypatch.setattr(SentenceModel, "load", lambda *rest: HashEncoder())
    free_model()
    return tmp_path / "outputs"


def unlogged(metrics: dict[str, float], step: int | None = None) -> None:
    """Nobody listens."""


def run(outputs: Path, name: str, strategies: list[str], log: Log = unlogged) -> tuple[dict[str, float], Path]:
    folders = {part: outputs.parent / name / part for part in ("out", "work", "cache")}
    for folder in folders.values():
        folder.mkdir(parents=True)
    context = StageContext(config=config_of(strategies), outputs=outputs, log=log, **folders)
    return select_shots.run(context), folders["out"]


@pytest.mark.slow
def test_everything_is_written_and_twice_the_same(outputs: Path) -> None:
    logged: list[tuple[dict[str, float], int | None]] = []
    metrics, first = run(
        outputs, "first", ["random", "diverse", "class_balanced"], lambda found, step=None: logged.append((found, step))
    )
    again, second = run(outputs, "second", ["random", "diverse", "class_balanced"])
    assert metrics == again
    assert content_hash(first) == content_hash(second)
    shots = yaml.safe_load((first / "shots.yaml").read_text())
    assert set(shots) == {"find", "sort"}
    for name, entry in shots.items():
        assert entry["number"] == len(entry["examples"]) == metrics[f"{name}.number"]
        assert list(entry["dev_scores"]) == [0, 1, 2]
        assert entry["p_value"] == metrics[f"{name}.p_value"] > 0
    assert (shots["sort"]["measure"], shots["sort"]["serves"]) == ("accuracy", ["Sorting"])
    assert (shots["sort"]["prompts_tried"], shots["find"]["prompts_tried"]) == (6, 4)  # `find` has no labels to balance
    assert metrics["tasks_not_measured"] == 0
    curve = pl.read_csv(first / "curve.csv")
    assert curve.columns == list(select_shots.CURVE)  # .dvc/plots reads some
    assert curve.filter(task="find")["strategy"].unique().sort().to_list() == ["diverse", "none", "random"]
    assert curve.filter(task="sort", strategy="class_balanced").height == 2
    assert (curve["prefix_tokens"] <= 400).all()
    assert [step for found, step in logged if "find.dev.diverse" in found] == [1, 2]
    assert len(logged) == curve.height
    assert (first / "curve.svg").read_text().startswith("<svg")


@pytest.mark.slow
def test_tasks_that_nothing_can_be_measured_on_get_none_and_say_why(
    outputs: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """No crash after the hours of training: every training text of one task is a test text, the other has one label."""
    prepared = outputs / "prepare"
    queries = pl.read_parquet(prepared / "queries.parquet")
    copies = queries.filter(pl.col("task") == "find")["text"]
    pl.DataFrame({"text": copies, "label": copies}).write_parquet(prepared / "benchmark" / "find.test.parquet")
    kept = queries.with_columns(label=pl.when(pl.col("task") == "sort").then(pl.lit("garden")))
    write_table(kept, prepared / "queries.parquet", QUERIES)
    caplog.set_level("WARNING")
    metrics, out = run(outputs, "first", ["diverse"])
    entries = yaml.safe_load((out / "shots.yaml").read_text())
    assert "each of 8 training pairs repeats a dev or test text" in entries["find"]["no_shots_because"]
    assert "all texts have one label" in entries["sort"]["no_shots_because"]
    assert f"find: no shots: {entries['find']['no_shots_because']}" in caplog.text
    assert metrics == {"find.number": 0, "sort.number": 0, "tasks_with_shots": 0, "tasks_not_measured": 2}
    assert pl.read_csv(out / "curve.csv").is_empty()
    assert not read_shots(out / "shots.yaml")["find"].prompt.shots


def test_a_long_example_is_passed_over_for_the_next_that_fits(tiny_student: Path) -> None:
    params = config_of([]).prompt.model_copy(update={"prefix_tokens": 90, "example_tokens": 100})
    from components.model.backbone import load_tokenizer

    prompt = Prompt(load_tokenizer(tiny_student, params), params)
    pool = [Candidate(0, 1, "x" * 80, "y", None), Candidate(1, 2, "short", "fits", None)]
    shots = select_fitting_shots([0, 1], pool, prompt, "Find", 2)
    assert [shot.query for shot in shots] == ["short"]
    assert len(prompt.prefix_ids("Find", shots)) <= 90


def test_the_same_query_is_not_shown_twice(tiny_student: Path) -> None:
    params = config_of([]).prompt
    from components.model.backbone import load_tokenizer

    prompt = Prompt(load_tokenizer(tiny_student, params), params)
    pool = [Candidate(0, 1, "same", "one", None), Candidate(1, 2, "same", "two", None)]
    assert len(select_fitting_shots([0, 1], pool, prompt, "Find", 2)) == 1


def test_the_texts_of_one_task_are_in_memory_at_a_time(outputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[weakref.ref[Inputs]] = []

    def inputs_of(prepared: Path, task: str) -> Inputs:
        assert all(one() is None for one in read)
        found = shot_pool.inputs_of(prepared, task)
        read.append(weakref.ref(found))
        return found

    monkeypatch.setattr(select_shots, "inputs_of", inputs_of)
    prepared = outputs / "prepare"
    params = config_of(["random"]).select_shots
    pools, devs, problems = select_shots._pools_and_dev_sets(prepared, read_tasks(prepared / "tasks.yaml"), params, 0)
    assert len(read) == 2
    assert set(pools) == set(devs) == {"find", "sort"}
    assert not problems
