"""What is evaluated against what is served: the largest difference by client, and the server's throughput.

    python -m benchmarks.served [--quick] [--json FILE]
    python -m benchmarks.served --model outputs/train/export --task boolq      only the throughput, on a real model

A tiny random student with an adapter is exported with one shot. 1,000 texts of 1 to 30,000 characters, as queries and
as documents, go through the encoder that evaluate uses and through every client of docs/serving.md that is installed
here; the blocks of that page are run as they stand. A difference is that of the largest component, in fp32.

Throughput: short queries of one task, each client sending one text at a time, against `encode_query` of
sentence-transformers on the same texts in one call, batch 32. Counted in CPU seconds of this process, which holds
clients and server, so that other work on the machine does not change them.
"""

import argparse
import json
import random
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from components.config import Config, parse_config
from components.contracts.shots import Shot, TaskPrompt
from components.contracts.tasks import Task
from components.model.encoder import Encoder
from components.serving.ask import Model
from tests.models import make_tiny_student, randomise_adapter
from tests.samples import small_parameters
from tests.serving_page import documented, documented_in_node, missing_for_node

TASK = Task("sky", "retrieval", "Find it.", symmetric=False, weight=1.0, licence="none", source="none")
SHOTS = (Shot("why is it so", "because of that"),)
WORDS = (
    "sea",
    "sky",
    "blue",
    "of",
    "the",
    "is",
    "Größe",
    "42",
    "what?",
    "line.\n",
    "<query>",
    "</s>",
    "日本語。",
    "🙂",
    "e\u0301",
)
CLIENTS = {  # block of docs/serving.md -> the folder that it reads
    "sentence-transformers": "export",
    "sides": "sides",
    "shared prefix": "export",
    "transformers": "export",
    "onnx": "onnx",
    "langchain": "export",
    "llama-index": "export",
}
PACKAGES = {"langchain": "langchain_core", "llama-index": "llama_index"}  # of the extra `clients`
SETTINGS = "config_sentence_transformers.json"


def main() -> None:
    """Compare, time, print, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="40 texts of at most 3,000 characters")
    parser.add_argument("--model", type=Path, help="an exported model; only the throughput is measured")
    parser.add_argument("--task", default=TASK.name)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory(prefix="served-") as folder:
        figures: dict[str, float] = {}
        model = given.model
        if model is None:
            encoder, model = exported(Path(folder))
            figures |= differences(encoder, model, draw_texts(40, 3000) if given.quick else draw_texts(1000, 30_000))
        figures |= throughput(model, given.task, 40 if given.quick else given.queries, given.clients)
    for name, value in figures.items():
        print(f"{name:44} {value:.4g}")
    if given.json:
        given.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def draw_texts(number: int, longest: int) -> list[str]:
    """Texts of 1 to `longest` characters, evenly in the logarithm of the length."""
    draw = random.Random(0)
    texts = []
    for place in range(number):
        length = round(longest ** (place / (number - 1)))
        texts.append(" ".join(draw.choice(WORDS) for _ in range(length // 2 + 1))[:length])
    return texts


def exported(folder: Path) -> tuple[Encoder, Path]:
    """(the encoder of evaluate, the exported folder) of a random student and a random adapter."""
    from components.model.backbone import load_tokenizer
    from components.model.export import export_model, set_prompts
    from components.training.train import add_adapter, save_adapter

    student = make_tiny_student(folder / "student")
    config: Config = parse_config(small_parameters(), "benchmark")
    tokenizer = load_tokenizer(student, config.prompt)
    model = add_adapter(student, tokenizer, config)
    randomise_adapter(model.parameters())
    save_adapter(model, folder / "adapter")
    export_model(student, folder / "adapter", folder / "export", config, [TASK])
    encoder = Encoder.load(student, config.prompt, config.encoder, folder / "adapter")
    set_prompts(folder / "export", encoder.prompt, {TASK.name: TaskPrompt(TASK.instruction, False, SHOTS)})
    return encoder, folder / "export"


def differences(encoder: Encoder, folder: Path, texts: list[str]) -> dict[str, float]:
    """Largest difference of each client's vectors, by side."""
    from components.serving.onnx import export_onnx
    from components.serving.sides import export_sides

    expected = {
        "queries": encoder.encode_queries(texts, TASK.instruction, SHOTS),
        "documents": encoder.encode_documents(texts),
    }
    model = read_model(folder)
    export_sides(model, folder.with_name("sides"))
    export_onnx(model, folder.with_name("onnx"))
    figures = {"texts": float(len(texts)), "cut": float(encoder.prompt.cut)}
    for client, place in CLIENTS.items():
        if client in PACKAGES and find_spec(PACKAGES[client]) is None:
            print(f"{client}: not compared, {PACKAGES[client]} is not installed (extra `clients`)")
            continue
        found: dict[str, list[np.ndarray]] = {}
        for start in range(0, len(texts), 50):
            part = texts[start : start + 50]
            names = documented(client, folder=str(folder.with_name(place)), texts=part, task=TASK.name)
            for side in expected:
                found.setdefault(side, []).extend([np.asarray(names[side])] if side in names else [])
        figures |= compared(client, found, expected)
    if missing_for_node():
        print(f"transformers.js: not compared, {missing_for_node()}")
    else:
        vectors = documented_in_node(folder.with_name("onnx"), texts, TASK.name)
        found = {side: [np.asarray(vectors[side])] for side in expected}
        figures |= compared("transformers.js", found, expected)
    with served(model) as address:
        found = {side: [] for side in expected}
        for start in range(0, len(texts), 50):
            names = documented("openai", server=address, name="served", texts=texts[start : start + 50], task=TASK.name)
            for side in expected:
                found[side].append(np.asarray(names[side]))
    return figures | compared("foundry serve", found, expected)


def compared(client: str, found: dict[str, list[np.ndarray]], expected: dict[str, np.ndarray]) -> dict[str, float]:
    """The largest difference of each side that the client has."""
    return {
        f"{client}, {side}": float(np.abs(np.concatenate(parts) - expected[side]).max())
        for side, parts in found.items()
        if parts
    }


def read_model(folder: Path) -> Model:
    """The exported folder as the server takes it."""
    return Model("served", folder, json.loads((folder / SETTINGS).read_text(encoding="utf-8"))["prompts"])


@contextmanager
def served(model: Model) -> Iterator[str]:
    """The address of `foundry serve`'s application in a thread of this process."""
    import uvicorn

    from components.serving.server import load_model, new_app

    loaded = load_model(model, "served", "cpu", token_budget=8192, queue_tokens=10_000_000)
    server = uvicorn.Server(uvicorn.Config(new_app(loaded), host="127.0.0.1", port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        loaded.batches.close()


def throughput(folder: Path, task: str, number: int, clients: int) -> dict[str, float]:
    """Texts a CPU second: one call of sentence-transformers, and the server with texts sent one at a time."""
    from sentence_transformers import SentenceTransformer

    texts = [f"question number {place}: " + " ".join(WORDS[: place % 8]) for place in range(number)]
    plain = SentenceTransformer(str(folder), device="cpu")
    figures: dict[str, float] = {}
    plain.encode_query(texts[:8], prompt_name=task)
    for side in ("queries", "documents"):
        start = time.process_time()
        if side == "queries":
            plain.encode_query(texts, prompt_name=task)
        else:
            plain.encode_document(texts)
        figures[f"sentence-transformers, {side} per CPU second"] = number / (time.process_time() - start)
    model = read_model(folder)
    with served(model) as address, ThreadPoolExecutor(clients) as pool:
        for side, name in (("queries", f"served:{task}"), ("documents", "served")):

            def send(part: list[str], name: str = name) -> int:
                return len(post(address, name, part))

            send(texts[:8])
            for label, size in (("one text a request", 1), ("32 texts a request", 32)):
                parts = [texts[at : at + size] for at in range(0, number, size)]
                start = time.process_time()
                assert sum(pool.map(send, parts)) == number
                figures[f"foundry serve, {label}, {side} per CPU second"] = number / (time.process_time() - start)
    return figures


def post(address: str, name: str, texts: list[str]) -> list[Any]:
    """Send a request; the vectors."""
    import urllib.request

    body = json.dumps({"model": name, "input": texts, "encoding_format": "base64"}).encode()
    with urllib.request.urlopen(f"{address}/v1/embeddings", body) as answer:
        vectors: list[Any] = json.load(answer)["data"]
    return vectors


if __name__ == "__main__":
    main()
