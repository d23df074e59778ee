"""A shard of embedding: stored in one piece, embedded once, and the only thing that a kill loses."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from components.config import EncoderParams, PromptParams
from components.model.embed_shard import Shard, Way, embed_shard
from components.model.encoder import EncoderSource
from components.model.sentence_model import SentenceSource
from tests.teacher.conftest import make_dense_teacher

PARAMS = PromptParams(template="plain", query_tokens=64, document_tokens=64)


def source(tiny_student: Path, store: Path) -> EncoderSource:
    return EncoderSource(tiny_student, store, PARAMS, EncoderParams(device="cpu"))


@pytest.mark.parametrize("after", [2, 4])
def test_kill_9_loses_at_most_the_shard_in_flight(tiny_student: Path, tmp_path: Path, after: int) -> None:
    texts = [f"text number {i} of the corpus" for i in range(60)]
    shards = [Shard(Way(document=True), texts[start : start + 10]) for start in range(0, 60, 10)]
    script = textwrap.dedent(
        f"""
        from pathlib import Path
        from components.config import EncoderParams, PromptParams
        from components.model.embed_shard import Shard, Way, embed_shard
        from components.model.encoder import EncoderSource
        own = EncoderSource(Path({str(tiny_student)!r}), Path({str(tmp_path)!r}),
                            PromptParams(template="plain", query_tokens=64, document_tokens=64),
                            EncoderParams(device="cpu"))
        texts = [f"text number {{i}} of the corpus" for i in range(60)]
        def in_flight(*_):
            print("ready", flush=True)
            import time; time.sleep(60)
        for number, start in enumerate(range(0, 60, 10)):
            if number == {after}:
                import components.model.encoder
                components.model.encoder.pooled = in_flight
            embed_shard(own, Shard(Way(document=True), texts[start : start + 10]))
        """
    )
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline().strip() == "ready"
    time.sleep(0.05)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stdout.close()
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
