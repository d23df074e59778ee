"""A shard of embedding: stored in one piece, embedded once, and the only thing that a kill loses."""

import time
from pathlib import Path
from typing import Any

import pytest

import components.model.encoder
from components.config import EncoderParams, PromptParams
from components.model.embed_shard import Shard, Way, embed_shard
from components.model.encoder import EncoderSource
from components.model.sentence_model import SentenceSource
from tests.teacher.conftest import make_dense_teacher
from tests.warm import start_warm

PARAMS = PromptParams(template="plain", query_tokens=64, document_tokens=64)


def source(tiny_student: Path, store: Path) -> EncoderSource:
    return EncoderSource(tiny_student, store, PARAMS, EncoderParams(device="cpu"))


def embed_until(own: EncoderSource, shards: list[Shard], after: int, waiting: Path) -> None:
    """Embed, and stand still inside the shard of number `after`, with `waiting` written."""

    def in_flight(*_: Any) -> None:
        waiting.touch()
        time.sleep(60)

    for number, shard in enumerate(shards):
        if number == after:
            components.model.encoder.pooled = in_flight
        embed_shard(own, shard)


@pytest.mark.slow
@pytest.mark.parametrize("after", [2, 4])
def test_kill_9_loses_at_most_the_shard_in_flight(tiny_student: Path, tmp_path: Path, after: int) -> None:
    texts = [f"text number {i} of the corpus" for i in range(60)]
    shards = [Shard(Way(document=True), texts[start : start + 10]) for start in range(0, 60, 10)]
    waiting = tmp_path / "waiting"
    child = start_warm(embed_until, source(tiny_student, tmp_path), shards, after, waiting)
    deadline = time.monotonic() + 300
    while not waiting.exists():
        assert child.is_alive()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    child.kill()
    child.join()
    encoder = source(tiny_student, tmp_path).load()
    for shard in shards:
        encoder.encode_documents(shard.texts)
    per_shard = [sum(len(ids) for ids in encoder.prompt.document_ids(shard.texts)) for shard in shards]
    assert encoder.tokens == sum(per_shard[after:])


def test_embedding_a_shard_twice_costs_once(tiny_student: Path, tmp_path: Path) -> None:
    own = source(tiny_student, tmp_path)
    shard = Shard(Way(document=True), ["one", "two"])
    embed_shard(own, shard)
    again = own.load()
    again.encode_documents(shard.texts)
    assert again.tokens == 0


def test_a_sentence_model_takes_shards_too(tmp_path: Path) -> None:
    folder = make_dense_teacher(tmp_path / "dense")
    own = SentenceSource(folder, tmp_path / "store", "cpu")
    embed_shard(own, Shard(Way(False, "ignored"), ["one", "two"]))
    again = own.load()
    again.encode_queries(["two", "one"], "")
    assert again.tokens == 0
