"""The plan: every text once, work first, the same result wherever it is embedded, and little lost to a kill."""

import os
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest
from distributed import Client

from components.base.errors import UserError
from components.benchmark.adapter import FoundryModel, TaskPrompt
from components.benchmark.starter import starter_task
from components.config import EncoderParams, EvaluateParams, PromptParams
from components.evaluation import workers
from components.evaluation.planner import Lengths, Plan, TaskPlan, make_plan
from components.evaluation.workers import Scorer, embedded, scoring_pool
from components.model.embed_shard import Way
from components.model.encoder import EncoderSource
from components.model.load_once import load_once
from components.model.prompt import Shot
from tests.evaluation.fakes import KINDS, WordPrompt, write_benchmark
from tests.warm import warm_context

PARAMS = PromptParams(template="plain", query_tokens=64, document_tokens=64)
PROMPTS = {name: TaskPrompt(f"Do {name}", name == "alike", (Shot("a b", "c"),)) for name in KINDS}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_benchmark(tmp_path_factory.mktemp("planner") / "benchmark", size=12)


def plan_of(folder: Path, names: list[str], lengths: Lengths | None = None) -> Plan:
    makers = {name: partial(starter_task, folder, name) for name in names}
    return make_plan(makers, PROMPTS, lengths or Lengths(WordPrompt()))


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


@pytest.fixture
def warm_pools(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pools fork their processes; the test that kills one leaves them the product's own start method."""
    monkeypatch.setattr(workers, "multiprocessing", SimpleNamespace(get_context=lambda method: warm_context()))


@pytest.fixture(params=["here", "two processes", "dask"])
def settings(request: pytest.FixtureRequest, warm_pools: None) -> Iterator[dict[str, Any]]:
    """The three engines; Dask's workers are threads of this process, behind a real scheduler."""
    if request.param == "dask":
        from distributed import LocalCluster

        with LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None) as cluster:
            yield {"address": cluster.scheduler_address}
    else:
        yield {"workers": 2} if request.param == "two processes" else {}


@pytest.mark.slow
def test_vectors_are_the_same_wherever_they_are_embedded(
    folder: Path, tiny_student: Path, tmp_path: Path, settings: dict[str, Any]
) -> None:
    plan = plan_of(folder, ["find", "alike"])
    expected = source(tiny_student, tmp_path / "reference").load()
    own = source(tiny_student, tmp_path / "store")
    model = FoundryModel("m", own.load(), PROMPTS, {})
    params = EvaluateParams(shard=5, **settings)
    done: list[int] = []
    names = [task.name for task in embedded(plan, model, own, params, done.append)]
    assert names == [task.name for task in plan.tasks]
    assert sum(done) == plan.texts
    stored = own.load().reader()
    for task in plan.tasks:
        for way, texts in task.texts.items():
            left, right = (
                one.encode_documents(texts) if way.document else one.encode_queries(texts, way.instruction, way.shots)
                for one in (stored, expected)
            )
            np.testing.assert_allclose(left, right, atol=1e-6)


@pytest.mark.slow
@pytest.mark.usefixtures("warm_pools")
def test_scoring_in_another_process_gives_the_same_files(folder: Path, tiny_student: Path, tmp_path: Path) -> None:
    own = source(tiny_student, tmp_path / "store")
    model = FoundryModel("m", own.load(), PROMPTS, {})
    plan = plan_of(folder, ["find", "alike", "sort"], Lengths(model.encoder.prompt))
    scorer = Scorer("m", load_once(own).reader(), model.prompts, model.settings)
    for processes in (0, 1):
        with scoring_pool(processes) as score:
            for task in embedded(plan, model, own, EvaluateParams(), lambda texts: None):
                score(scorer, model, task, tmp_path / str(processes))
    for task in plan.tasks:
        left, right = (tmp_path / place / task.name / f"{task.name}.json" for place in ("0", "1"))
        assert left.read_bytes() == right.read_bytes()


def test_an_unreachable_scheduler_is_one_line(folder: Path, tiny_student: Path, tmp_path: Path) -> None:
    own = source(tiny_student, tmp_path)
    model = FoundryModel("m", own.load(), PROMPTS, {})
    params = EvaluateParams(address="tcp://127.0.0.1:9", connect_seconds=1)
    with pytest.raises(UserError, match=r"no Dask scheduler at tcp://127\.0\.0\.1:9"):
        list(embedded(plan_of(folder, ["find"]), model, own, params, lambda texts: None))


def long_plan() -> tuple[Plan, list[str]]:
    """One task of 300 one-text shards: a kill after the first comes long before the last."""
    texts = [f"text number {i} of the corpus" for i in range(300)]
    return Plan([TaskPlan("long", partial(starter_task, Path(), "long"), {Way(document=True): texts}, {})]), texts


@pytest.mark.slow
def test_a_killed_process_is_one_line_and_what_it_finished_is_kept(tiny_student: Path, tmp_path: Path) -> None:
    own, (plan, texts) = source(tiny_student, tmp_path), long_plan()
    model = FoundryModel("m", own.load(), PROMPTS, {})
    done: list[int] = []

    def kill(finished: int) -> None:
        done.append(finished)
        workers = [child for child in psutil.Process().children() if len(done) == 1]
        for child in workers:
            if "spawn_main" in " ".join(child.cmdline()):
                child.kill()

    with pytest.raises(UserError, match=r"was killed.*lower evaluate\.workers"):
        list(embedded(plan, model, own, EvaluateParams(shard=1, workers=1), kill))
    again = own.load()
    again.encode_documents(texts)
    assert 0 < again.tokens <= sum(len(ids) for ids in again.prompt.document_ids(texts)[len(done) :])


@pytest.mark.slow
def test_a_killed_dask_worker_s_shards_are_embedded_by_another(
    tiny_student: Path, tmp_path: Path, dask_workers: str
) -> None:
    own, (plan, texts) = source(tiny_student, tmp_path), long_plan()
    model = FoundryModel("m", own.load(), PROMPTS, {})
    with Client(dask_workers) as client:
        victim = next(iter(client.run(os.getpid).values()))
    done: list[int] = []

    def kill(finished: int) -> None:
        if not done:
            os.kill(victim, signal.SIGKILL)
        done.append(finished)

    params = EvaluateParams(shard=1, address=dask_workers)
    assert [task.name for task in embedded(plan, model, own, params, kill)] == ["long"]
    assert sum(done) == len(texts)
    again = own.load()
    again.encode_documents(texts)
    assert again.tokens == 0  # every vector is in the store
