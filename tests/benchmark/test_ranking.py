"""Search by index gives what mteb's own search gives, from fewer texts."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from datasets import Dataset
from mteb.models.search_wrappers import SearchEncoderWrapper

from components.base.errors import UserError
from components.benchmark import ranking as search_module
from components.benchmark.adapter import FoundryModel
from components.benchmark.ranking import Corpus
from components.contracts.shots import TaskPrompt
from tests.evaluation.fakes import HashEncoder, sentence

RANDOM = np.random.default_rng(3)
WORDS = [sentence(RANDOM, topic) for topic in ("garden", "kitchen", "harbour") for _ in range(10)]
CORPUS = Dataset.from_dict({"id": [f"d{i}" for i in range(30)], "text": WORDS, "title": ["", "Title"] * 15})
QUERIES = Dataset.from_dict({"id": [f"q{i}" for i in range(12)], "text": [*WORDS[:6], *WORDS[:6]]})
CANDIDATES = {f"q{i}": [f"d{(i * 3 + step) % 30}" for step in range(1 + i % 4)] for i in range(12)}


def metadata(kind: str) -> Any:
    return SimpleNamespace(name="Task", type=kind, modalities=["text"], get_modalities=lambda *_: ["text"])


def foundry() -> FoundryModel:
    return FoundryModel("m", HashEncoder(), {"Task": TaskPrompt("Find")}, {})


def ours(kind: str, top_k: int, top_ranked: Any = None) -> tuple[dict[str, dict[str, float]], HashEncoder]:
    model = foundry()
    model.index(CORPUS)
    found = model.search(QUERIES, task_metadata=metadata(kind), top_k=top_k, top_ranked=top_ranked)
    assert isinstance(model.encoder, HashEncoder)
    return found, model.encoder


def theirs(kind: str, top_k: int, top_ranked: Any = None) -> dict[str, dict[str, float]]:
    wrapper = SearchEncoderWrapper(foundry())
    where = {"task_metadata": metadata(kind), "hf_split": "test", "hf_subset": "default"}
    options: dict[str, Any] = {"encode_kwargs": {"batch_size": 8, "show_progress_bar": False}, **where}
    wrapper.index(CORPUS, **options)
    return dict(wrapper.search(QUERIES, top_k=top_k, top_ranked=top_ranked, **options))


def assert_same(left: dict[str, dict[str, float]], right: dict[str, dict[str, float]]) -> None:
    assert left.keys() == right.keys()
    for query, found in left.items():
        assert found == pytest.approx(right[query], abs=1e-6)


@pytest.mark.parametrize("block", [4, 50_000])
def test_full_search_is_mtebs(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(search_module, "DOCUMENT_BLOCK", block)
    monkeypatch.setattr(search_module, "QUERY_BLOCK", 4)
    assert_same(ours("Retrieval", 7)[0], theirs("Retrieval", 7))


@pytest.mark.parametrize("top_k", [2, 100])
def test_reranking_is_mtebs(monkeypatch: pytest.MonkeyPatch, top_k: int) -> None:
    monkeypatch.setattr(search_module, "PAIR_BLOCK", 5)
    assert_same(ours("Reranking", top_k, CANDIDATES)[0], theirs("Reranking", top_k, CANDIDATES))


def test_every_distinct_query_is_embedded_once() -> None:
    _, encoder = ours("Retrieval", 3)
    assert [len(texts) for side, texts, _, _ in encoder.calls if side == "query"] == [6]


def test_results_of_equal_queries_do_not_share_a_dict() -> None:
    found, _ = ours("Retrieval", 3)
    found["q0"].clear()
    assert len(found["q6"]) == 3


def test_reranking_without_candidates_is_refused() -> None:
    with pytest.raises(UserError, match="full-corpus retrieval"):
        ours("Reranking", 10)


def test_title_is_joined_as_mteb_joins_it() -> None:
    corpus = Corpus.of(Dataset.from_dict({"id": ["a", "b"], "text": [" x ", "y"], "title": ["", "T"]}))
    assert corpus.texts.texts == ["x", "T y"]
