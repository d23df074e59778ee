"""The plan: every text once, work first, the same result wherever it is embedded, and little lost to a kill."""

import multiprocessing
import os
import signal
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from distributed import Client

from components.base.errors import UserError
from components.benchmark.adapter import FoundryModel
from components.benchmark.starter import starter_task
from components.config import EncoderParams, EngineParams, PromptParams
from components.contracts.shots import TaskPrompt
from components.evaluation import planner
from components.evaluation.planner import EmbeddingPlan, Lengths, TaskPlan, embed_plan, plan_embedding
from components.evaluation.scoring import Scorer, scoring_pool
from components.model.embed_shard import Shard, Way, embed
from components.model.encoder import EncoderSource
from components.model.load_once import load_once
from components.model.prompt import Shot
from tests.evaluation.fakes import KINDS, WordPrompt, write_benchmark

PARAMS = PromptParams(template="plain", query_tokens=64, document_tokens=64)
PROMPTS = {name: TaskPrompt(f"Do {name}", name == "alike", (Shot("a b", "c"),)) for name in KINDS}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_benchmark(tmp_path_factory.mktemp("planner") / "benchmark", size=12)


def plan_of(folder: Path, names: list[str], lengths: Lengths | None = None) -> EmbeddingPlan:
    makers = {name: partial(starter_task, folder, name) for name in names}
    return plan_embedding(makers, PROMPTS, lengths or Lengths(WordPrompt()))


def source(tiny_student: Path, store: Path) -> EncoderSource:
    return EncoderSource(tiny_student, store, PARAMS, EncoderParams(device="cpu"))


def test_a_text_that_two_tasks_want_is_embedded_for_the_first_only(folder: Path) -> None:
    plan = plan_of(folder, ["find", "rerank"])  # the same corpus
    documents = [task.texts[Way(document=True)] for task in plan.tasks]
    assert sorted(map(len, documents)) == [0, 12]
    assert documents[1] == []


def test_tasks_come_by_falling_work_and_texts_by_falling_length(folder: Path) -> None:
    plan = plan_of(folder, list(KINDS))
    work = [task.cost["shared_prefix"] for task in plan.tasks]
    assert work == sorted(work, reverse=True)
    for task in plan.tasks:
        for way in task.texts:
            lengths = [len(text) for shard in task.shards(5) if shard.way == way for text in shard.texts]
            assert lengths == sorted(lengths, reverse=True)
        assert all(len(shard.texts) <= 5 for shard in task.shards(5))


def test_costs_are_counted_by_hand() -> None:
    prompt = WordPrompt()
    cost = Lengths(prompt).cost(Way(False, "one two", ()), {"a b": 3, "c": 1})
    assert cost == {"plain": 3 * 4 + 3, "distinct": 4 + 3, "shared_prefix": 2 + 2 + 1}
    assert Lengths(prompt).cost(Way(True), {"a b": 2})["plain"] == 4


def test_the_token_ids_of_few_texts_are_in_memory_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    class Counting(WordPrompt):
        def document_ids(self, texts: Sequence[str]) -> list[list[int]]:
            assert len(texts) <= 2
            return super().document_ids(texts)

    texts = {"a b": 3, "c": 1, "d": 1, "e f g": 2, "h": 1}
    whole = Lengths(WordPrompt()).cost(Way(True), texts)
    monkeypatch.setattr(planner, "TOKENIZED", 2)
    assert Lengths(Counting()).cost(Way(True), texts) == whole


@pytest.fixture(params=["here", "two processes", "dask"])
def engine(request: pytest.FixtureRequest, warm_pools: None) -> EngineParams:
    """The three places, in shards of five texts."""
    if request.param == "dask":
        dask: EngineParams = request.getfixturevalue("dask_engine")
        return dask.model_copy(update={"shard": 5})
    return EngineParams(workers=2 if request.param == "two processes" else 0, shard=5)


@pytest.mark.slow
def test_vectors_are_the_same_wherever_they_are_embedded(
    folder: Path, tiny_student: Path, tmp_path: Path, engine: EngineParams
) -> None:
    plan = plan_of(folder, ["find", "alike"])
    expected = source(tiny_student, tmp_path / "reference").load()
    own = source(tiny_student, tmp_path / "store")
    done: list[int] = []
    ready: list[tuple[str, int]] = []
    embed_plan(plan, own, engine, "test", done.append, lambda task: ready.append((task.name, sum(done))))
    assert [name for name, _ in ready] == [task.name for task in plan.tasks]
    assert sum(done) == plan.texts
    for (_, texts), task in zip(ready, plan.tasks, strict=True):
        assert texts >= sum(map(len, task.texts.values()))  # a task is ready when its own are embedded
    stored = own.load().reader()
    for task in plan.tasks:
        for way, texts in task.texts.items():
            left, right = (embed(one, Shard(way, texts)) for one in (stored, expected))
            np.testing.assert_allclose(left, right, atol=1e-6)


def test_a_task_without_texts_of_its_own_is_ready_after_those_before_it(tiny_student: Path, tmp_path: Path) -> None:
    make, texts = partial(starter_task, Path(), "x"), {Way(document=True): ["one", "two"]}
    tasks = [TaskPlan("none", make, {}, {}), TaskPlan("some", make, texts, {}), TaskPlan("last", make, {}, {})]
    events: list[Any] = []
    own, engine = source(tiny_student, tmp_path), EngineParams(shard=1)
    embed_plan(EmbeddingPlan(tasks), own, engine, "test", events.append, lambda task: events.append(task.name))
    assert events == ["none", 1, 1, "some", "last"]


@pytest.mark.slow
@pytest.mark.usefixtures("warm_pools")
def test_scoring_in_another_process_gives_the_same_files(folder: Path, tiny_student: Path, tmp_path: Path) -> None:
    own = source(tiny_student, tmp_path / "store")
    model = FoundryModel("m", load_once(own), PROMPTS, {})
    plan = plan_of(folder, ["find", "alike", "sort"], Lengths(model.encoder.prompt))
    for processes in (0, 1):
        scorer = Scorer("m", load_once(own).reader(), model.prompts, model.settings, tmp_path / str(processes))
        with scoring_pool(model, scorer, processes) as score:
            embed_plan(plan, own, EngineParams(), "test", lambda texts: None, score)
    for task in plan.tasks:
        left, right = (tmp_path / place / task.name / f"{task.name}.json" for place in ("0", "1"))
        assert left.read_bytes() == right.read_bytes()


@pytest.mark.slow
@pytest.mark.usefixtures("warm_pools")
def test_what_the_plan_lacks_is_embedded_by_this_process(folder: Path, tiny_student: Path, tmp_path: Path) -> None:
    own = source(tiny_student, tmp_path / "store")
    model = FoundryModel("m", load_once(own), PROMPTS, {})
    (task,) = plan_of(folder, ["alike"]).tasks
    scorer = Scorer("m", load_once(own).reader(), model.prompts, model.settings, tmp_path)
    with scoring_pool(model, scorer, 1) as score:
        score(task)  # nothing of it was embedded
    assert (tmp_path / "alike" / "alike.json").is_file()


def long_plan() -> tuple[EmbeddingPlan, list[str]]:
    """One task of 100 one-text shards: a kill after the first comes long before the last."""
    texts = [f"text number {i} of the corpus" for i in range(100)]
    return EmbeddingPlan(
        [TaskPlan("long", partial(starter_task, Path(), "long"), {Way(document=True): texts}, {})]
    ), texts


@pytest.mark.slow
@pytest.mark.usefixtures("warm_pools")
def test_a_killed_process_is_one_line_and_what_it_finished_is_kept(tiny_student: Path, tmp_path: Path) -> None:
    own, (plan, texts) = source(tiny_student, tmp_path), long_plan()
    done: list[int] = []
    others = multiprocessing.active_children()

    def kill(finished: int) -> None:
        done.append(finished)
        for worker in multiprocessing.active_children():
            if len(done) == 1 and worker not in others:
                worker.kill()

    with pytest.raises(UserError, match=r"was killed.*lower engine\.workers"):
        embed_plan(plan, own, EngineParams(shard=1, workers=1), "test", kill, lambda task: None)
    again = own.load()
    again.encode_documents(texts)
    assert 0 < again.tokens <= sum(len(ids) for ids in again.prompt.document_ids(texts)[len(done) :])


@pytest.mark.slow
def test_a_killed_dask_worker_s_shards_are_embedded_by_another(
    tiny_student: Path, tmp_path: Path, dask_engine: EngineParams
) -> None:
    own, (plan, texts) = source(tiny_student, tmp_path), long_plan()
    with Client(dask_engine.address) as client:
        victim = next(iter(client.run(os.getpid).values()))
    done: list[int] = []
    ready: list[str] = []

    def kill(finished: int) -> None:
        if not done:
            os.kill(victim, signal.SIGKILL)
        done.append(finished)

    engine = dask_engine.model_copy(update={"shard": 1})
    embed_plan(plan, own, engine, "test", kill, lambda task: ready.append(task.name))
    assert ready == ["long"]
    assert sum(done) == len(texts)
    again = own.load()
    again.encode_documents(texts)
    assert again.tokens == 0  # every vector is in the store
