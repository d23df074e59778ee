"""`foundry serve` over HTTP: sentence-transformers' vectors, one line for what is refused, requests in one batch."""

import base64
import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from components.serving import server
from components.serving.ask import trained_model
from components.serving.http import MOST_TEXTS
from components.serving.sample import QuerySample, read_sample
from components.serving.server import ServedModel, load_model, new_app
from tests.command import foundry
from tests.serving_page import documented

TEXTS = ["is the sky blue", " Größe 42\n", "long " * 300, "", "<query> as a word"]


@pytest.fixture(scope="module")
def served(trained: Path) -> Iterator[ServedModel]:
    one = trained_model(trained / "outputs")
    sts = "<instruct>Retrieve a sentence that says the same\n<query>"
    shot = "<instruct>Retrieve a sentence that says the same\n<query>a\n<response>b\n\n"
    prompts = {"boolq": one.prompts["boolq"], "document": "", "sts": shot + sts, "sts:document": sts}
    model = load_model(replace(one, prompts=prompts), "tiny", "cpu", token_budget=2048, queue_tokens=10_000)
    yield model
    model.batches.close()


@pytest.fixture(scope="module")
def client(served: ServedModel) -> TestClient:
    return TestClient(new_app(served))


def vectors(client: TestClient, **body: Any) -> np.ndarray:
    answer = client.post("/v1/embeddings", json=body)
    assert answer.status_code == 200, answer.text
    return np.array([one["embedding"] for one in answer.json()["data"]])


@pytest.mark.parametrize(
    ("body", "prompt"),
    [
        ({}, ""),
        ({"side": "document"}, ""),
        ({"side": "document", "task": "boolq"}, ""),
        ({"side": "query", "task": "boolq"}, "boolq"),
        ({"model": "tiny:boolq"}, "boolq"),
        ({"model": "tiny", "side": "query", "task": "sts"}, "sts"),
        ({"side": "document", "task": "sts"}, "sts:document"),
    ],
)
def test_the_vectors_are_those_of_sentence_transformers(
    client: TestClient, served: ServedModel, body: dict[str, str], prompt: str
) -> None:
    model = served.model
    expected = model.encode_query(TEXTS, prompt_name=prompt) if prompt else model.encode_document(TEXTS)
    np.testing.assert_allclose(vectors(client, input=TEXTS, **body), expected, atol=1e-5)


def test_the_task_of_a_one_task_model_need_not_be_named(trained: Path) -> None:
    model = load_model(trained_model(trained / "outputs"), "tiny", "cpu", token_budget=2048, queue_tokens=10_000)
    queries = vectors(TestClient(new_app(model)), input=TEXTS, side="query")
    np.testing.assert_allclose(queries, model.model.encode_query(TEXTS, prompt_name="boolq"), atol=1e-5)
    np.testing.assert_allclose(queries, model.model.encode_query(TEXTS), atol=1e-5)
    model.batches.close()


def test_one_text_fewer_dimensions_and_base64(client: TestClient, served: ServedModel) -> None:
    whole = served.model.encode_document(["one"])[0]
    np.testing.assert_allclose(vectors(client, input="one")[0], whole, atol=1e-5)
    short = whole[:8] / np.linalg.norm(whole[:8])
    np.testing.assert_allclose(vectors(client, input="one", dimensions=8)[0], short, atol=1e-5)
    answer = client.post("/v1/embeddings", json={"input": "one", "encoding_format": "base64"}).json()
    sent = np.frombuffer(base64.b64decode(answer["data"][0]["embedding"]), dtype="<f4")
    np.testing.assert_allclose(sent, whole, atol=1e-5)
    assert answer["usage"]["total_tokens"] == len(served.model.tokenizer("one")["input_ids"])


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('{"input": ["a", null]}', "row 1: None is NoneType, not a text; leave it out or correct it"),
        ('{"input": ["a", NaN]}', "row 1: nan is float, not a text"),
        ('{"input": [1, 2]}', "row 0: 1 is int, not a text"),
        ('{"input": {"text": "a"}}', "input: {'text': 'a'} is dict; send a text or a list of texts"),
        ('{"input": null}', "input: None is NoneType; send"),
        ('{"input": []}', "input: 0 texts; send 1 to 2,048"),
        (json.dumps({"input": ["a"] * (MOST_TEXTS + 1)}), "input: 2049 texts; send 1 to 2,048"),
        ('{"input": ["a", "\\ud800"]}', "row 1: half a surrogate pair"),
        ("{}", "input: missing"),
        ("[]", "body: list; must be an object"),
        ("{", "body: not JSON: "),
        (b'{"input": "\xff"}', "body: not UTF-8 at byte 11"),
        ('{"input": "a", "task": "boolq"}', "task: 'boolq' is given without side"),
        ('{"input": "a", "side": "query"}', "task: ''; must be one of boolq, sts"),
        ('{"input": "a", "side": "query", "task": "moon"}', "task: 'moon'; must be one of boolq, sts"),
        ('{"input": "a", "side": "query", "task": "document"}', "task: 'document'; must be one of boolq, sts"),
        ('{"input": "a", "side": "passage"}', "side: 'passage'; must be 'query' or 'document'"),
        ('{"input": "a", "side": 7}', "side: 7 is int, not a text"),
        ('{"input": "a", "sied": "query"}', "sied: unknown; there are input, model, side"),
        ('{"input": "a", "model": "ada"}', "model: 'ada'; must be 'tiny', or tiny:TASK with one of boolq, sts"),
        ('{"input": "a", "model": "tiny:moon"}', "task: 'moon'; must be one of boolq, sts"),
        ('{"input": "a", "model": "tiny:sts", "task": "boolq"}', "names a task, and so does task"),
        ('{"input": "a", "dimensions": 33}', "dimensions: 33; must be a number from 1 to 32"),
        ('{"input": "a", "dimensions": true}', "dimensions: True; must be a number"),
        ('{"input": "a", "encoding_format": "int8"}', "encoding_format: 'int8'; must be 'float' or 'base64'"),
    ],
)
def test_what_is_no_text_or_not_known_is_400_and_one_line(client: TestClient, body: str | bytes, said: str) -> None:
    answer = client.post("/v1/embeddings", content=body)
    message = answer.json()["error"]["message"]
    assert (answer.status_code, message.startswith(said) or said in message) == (400, True), message
    assert "\n" not in message
    assert len(message) < 450


def test_a_sample_holds_queries_and_no_documents(client: TestClient, served: ServedModel, tmp_path: Path) -> None:
    served.sample = QuerySample(tmp_path, share=1.0)
    try:
        vectors(client, input=["a document"])
        vectors(client, input=["is the sky blue"], side="query", task="boolq")
    finally:
        served.sample = None
    assert read_sample(tmp_path, 1, datetime.now(UTC)) == {"boolq": ["is the sky blue"]}


def test_health_and_models(client: TestClient) -> None:
    assert [one["id"] for one in client.get("/v1/models").json()["data"]] == ["tiny", "tiny:boolq", "tiny:sts"]
    health = client.get("/health")
    assert (health.status_code, health.json()["status"], health.json()["waiting_tokens"]) == (200, "ok", 0)


def test_requests_at_once_are_embedded_together_and_keep_their_order(client: TestClient, served: ServedModel) -> None:
    texts = [f"question number {number}" for number in range(40)]
    expected = served.model.encode_query(texts, prompt_name="boolq")
    before = served.batches.batches
    with ThreadPoolExecutor(20) as pool:
        found = list(pool.map(lambda text: vectors(client, input=text, model="tiny:boolq")[0], texts))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert served.batches.batches - before < len(texts)


@pytest.mark.slow
def test_the_documented_lines_over_a_socket(served: ServedModel) -> None:
    import threading
    import time

    import uvicorn

    web = uvicorn.Server(uvicorn.Config(new_app(served), host="127.0.0.1", port=0, log_level="warning"))
    thread = threading.Thread(target=web.run)
    thread.start()
    try:
        while not web.started:
            assert thread.is_alive()
            time.sleep(0.01)
        address = f"http://127.0.0.1:{web.servers[0].sockets[0].getsockname()[1]}"
        found = documented("openai", server=address, name="tiny", texts=TEXTS, task="boolq")
    finally:
        web.should_exit = True
        thread.join()
    np.testing.assert_allclose(found["queries"], served.model.encode_query(TEXTS, prompt_name="boolq"), atol=1e-5)
    np.testing.assert_allclose(found["documents"], served.model.encode_document(TEXTS), atol=1e-5)


@pytest.mark.slow
def test_the_command_serves_what_it_is_told_to(
    checkout: Path, store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(checkout)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{store}")
    ran: list[tuple[ServedModel, str, int]] = []
    monkeypatch.setattr(server, "run_server", lambda *given: ran.append(given))
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        assert foundry("serve", "--trained", "--port", port) == 1
    said = f"error: 127.0.0.1:{port}: Address already in use; name another: --host, --port\n"
    assert capsys.readouterr().err == said
    assert foundry("serve", "--trained", "--port", port, "--token-budget", "64") == 0
    ((served, *where),) = ran
    assert (served.name, where) == ("embedding-foundry", ["127.0.0.1", int(port)])
    assert f"http://127.0.0.1:{port}/v1/embeddings, model embedding-foundry" in capsys.readouterr().out
    served.batches.close()
    assert foundry("serve", "--port", port) == 1
    assert capsys.readouterr().err.endswith("has no version or alias 'production'; versions: none\n")
