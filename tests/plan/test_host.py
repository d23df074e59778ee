"""Host memory by stage: it does not grow with the pairs, and the full size fits on one machine."""

from dataclasses import replace

import pytest

from components.config import Config, load_config
from components.plan import host
from components.plan.devices import GIB, GPUS
from components.plan.page import CORES, scaled
from components.plan.stages import make_plan
from components.plan.tokens import TaskTexts, estimated_texts
from tests.samples import ROOT

H100 = GPUS["H100"]


@pytest.fixture(scope="module")
def config() -> Config:
    return load_config(ROOT / "recipes" / "mistral-7b.yaml").model_copy(update={"threads": CORES})


@pytest.fixture(scope="module")
def tasks(config: Config) -> list[TaskTexts]:
    """10 million documents, and more than 324 million candidates."""
    found = scaled(estimated_texts(config), 10_000_000)
    assert sum(task.queries + task.dev for task in found) * host.pairs_each(config) > 324e6
    return found


def test_ten_million_documents_fit_64_gib(config: Config, tasks: list[TaskTexts]) -> None:
    costs = {cost.stage: cost.host / GIB for cost in make_plan(config, tasks, ROOT / "nowhere", H100, 8).costs}
    assert max(costs.values()) < 64
    assert costs["score"] < 8
    assert costs["mine"] < 8


def test_more_pairs_of_the_same_documents_take_rows_only(config: Config, tasks: list[TaskTexts]) -> None:
    more = [replace(task, queries=10 * task.queries) for task in tasks]
    new = sum(task.queries for task in more) - sum(task.queries for task in tasks)
    grown = host.score_memory(config, more, 1024, H100) - host.score_memory(config, tasks, 1024, H100)
    assert grown <= (host.ROW + host.SIDE) * new
    grown = host.mine_memory(config, more, H100) - host.mine_memory(config, tasks, H100)
    assert grown == pytest.approx(host.ROW * new, rel=0.01)


def test_bm25s_index_is_the_largest_tasks(config: Config, tasks: list[TaskTexts]) -> None:
    without = config.model_copy(update={"retrieve": config.retrieve.model_copy(update={"bm25": None})})
    saved = host.retrieve_memory(config, tasks, 1024, H100) - host.retrieve_memory(without, tasks, 1024, H100)
    words = max(task.documents * host.CHARACTERS * task.document_tokens / host.WORD for task in tasks)
    assert saved > host.BM25_WORD * words


def test_fetch_holds_one_source_and_select_shots_one_task(tasks: list[TaskTexts]) -> None:
    largest, *others = sorted(tasks, key=host.task_characters, reverse=True)
    one = host.fetch_memory([[largest]])
    assert one > host.CHARACTERS * largest.documents * (largest.document_tokens + largest.query_tokens)
    assert host.fetch_memory([[task] for task in tasks]) == one
    assert host.fetch_memory([[largest, others[0]]]) > one
    rows = host.ROW * sum(task.documents + task.queries + task.dev for task in others)
    words = sum(task.dev * (1 + host.CHARACTERS * task.query_tokens / host.WORD) for task in others)
    more = host.select_shots_memory(tasks, H100) - host.select_shots_memory([largest], H100)
    assert more == pytest.approx(rows + host.TRIGRAM * words)


@pytest.mark.slow
def test_cards_are_what_the_parameters_use(config: Config) -> None:
    def cards(changed: Config) -> dict[str, float]:
        plan = make_plan(changed, estimated_texts(changed), ROOT / "nowhere", H100, 8)
        return {cost.stage: min(8, cost.cards) for cost in plan.costs if cost.flops}

    assert cards(config) == {"retrieve": 8, "score": 8, "train": 1, "select_shots": 8, "evaluate": 8}
    train = config.train.model_copy(update={"processes": 4, "nodes": 2})
    one = config.score.model_copy(update={"engine": config.score.engine.model_copy(update={"workers": 0})})
    assert cards(config.model_copy(update={"train": train, "score": one})) == {
        "retrieve": 8,
        "score": 1,
        "train": 8,
        "select_shots": 8,
        "evaluate": 8,
    }
