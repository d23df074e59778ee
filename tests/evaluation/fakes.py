"""A deterministic encoder and a tiny benchmark, for tests that need no model."""

import hashlib
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from components.contracts.tasks import Task, write_tasks
from components.model.prompt import Shot

TOPICS = {
    "garden": ["rose", "tulip", "soil", "seed", "water", "sun", "bloom", "prune", "root", "leaf"],
    "kitchen": ["oven", "flour", "butter", "salt", "knife", "bake", "roast", "stir", "dough", "spice"],
    "harbour": ["ship", "anchor", "tide", "crane", "cargo", "sail", "wharf", "buoy", "mast", "deck"],
}
KINDS = {
    "find": "retrieval",
    "rerank": "reranking",
    "sort": "classification",
    "group": "clustering",
    "pairs": "pair_classification",
    "alike": "sts",
    "summary": "summarization",
}
FILLER = ["the", "a", "of", "with", "near", "under", "over", "some", "every", "quiet", "old", "new"]


class WordPrompt:
    """Words as token ids, for encoders that have no tokenizer."""

    def prefix_ids(self, instruction: str, shots: Sequence[Shot] = ()) -> list[int]:
        return self._ids(" ".join([instruction, *(f"{shot.query} {shot.response}" for shot in shots)]))

    def query_ids(self, texts: Sequence[str], prefix: int | None = None) -> list[list[int]]:
        return [self._ids(text) for text in texts]

    def document_ids(self, texts: Sequence[str]) -> list[list[int]]:
        return [self._ids(text) for text in texts]

    def _ids(self, text: str) -> list[int]:
        return [zlib.crc32(word.encode()) >> 1 for word in text.split()]


class HashEncoder:
    """Bag of hashed words, slightly mixed with its prompt, so that instruction and shots change a vector."""

    dimension = 48

    def __init__(self, seed: int = 0) -> None:
        self.identity = f"hash-{seed}"
        self.prompt = WordPrompt()
        self._words: dict[str, np.ndarray] = {}
        self.seed, self.tokens = seed, 0
        self.calls: list[tuple[str, list[str], str, tuple[Shot, ...]]] = []

    def reader(self) -> "HashEncoder":
        """Needs no weights to begin with."""
        return self

    def encode_queries(self, texts: Sequence[str], instruction: str, shots: Sequence[Shot] = ()) -> np.ndarray:
        self.calls.append(("query", list(texts), instruction, tuple(shots)))
        prompt = instruction + "".join(shot.query + shot.response for shot in shots)
        return self._encode(texts, prompt)

    def encode_documents(self, texts: Sequence[str]) -> np.ndarray:
        self.calls.append(("document", list(texts), "", ()))
        return self._encode(texts, "")

    def _encode(self, texts: Sequence[str], prompt: str) -> np.ndarray:
        self.tokens += sum(len(text.split()) + len(prompt.split()) for text in set(texts))
        rows = [sum((self._word(word) for word in text.lower().split()), start=np.zeros(48)) for text in texts]
        vectors = np.array(rows).reshape(len(rows), self.dimension) + 1e-3 + (0.3 * self._word(prompt) if prompt else 0)
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)

    def _word(self, word: str) -> np.ndarray:
        if word not in self._words:
            digest = hashlib.sha256(f"{self.seed}{word}".encode()).digest()
            random = np.random.default_rng(int.from_bytes(digest[:8], "little"))
            self._words[word] = random.standard_normal(self.dimension)
        return self._words[word]


def sentence(random: np.random.Generator, topic: str, words: int = 8) -> str:
    """A made-up sentence on a topic."""
    own = random.choice(TOPICS[topic], words // 2)
    return " ".join(random.permutation([*own, *random.choice(FILLER, words - words // 2)]))


def write_benchmark(folder: Path, size: int = 24) -> Path:
    """One small task of each kind, in the format of the prepare stage; returns `folder`."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(7)
    topics = list(TOPICS)
    label = [topics[i % 3] for i in range(size)]
    texts = [sentence(random, topic) for topic in label]
    others = [sentence(random, topic) for topic in label]

    def write(name: str, columns: dict[str, Any]) -> None:
        pl.DataFrame(columns).write_parquet(folder / f"{name}.parquet")

    queries, documents = [f"q{i}" for i in range(size)], [f"d{i}" for i in range(size)]
    asked = [f"{text} {other.split()[0]}" for text, other in zip(texts, others, strict=True)]
    for task in ("find", "rerank"):
        write(f"{task}.corpus", {"doc_id": documents, "text": others})
        write(f"{task}.queries", {"query_id": queries, "text": asked})
        write(f"{task}.qrels", {"query_id": queries, "doc_id": documents, "relevance": [1.0] * size})
    candidates = [[documents[(i + step) % size] for step in range(6)] for i in range(size)]
    write("rerank.candidates", {"query_id": queries, "doc_ids": candidates})
    write("sort.train", {"text": others, "label": label})
    write("sort.test", {"text": texts, "label": label})
    write("group.test", {"text": texts, "label": label})
    close = [float(label[i] == label[-1 - i]) + 0.1 * random.random() for i in range(size)]
    write("pairs.test", {"text1": texts, "text2": others[::-1], "score": [float(value > 0.5) for value in close]})
    write("alike.test", {"text1": texts, "text2": others[::-1], "score": close})
    summaries = [[other, texts[i - 1], texts[i]] for i, other in enumerate(others)]
    relevance = [[2.0, 1.0, 3.0]] * size
    write(
        "summary.test",
        {"text": texts, "human_summary": texts, "machine_summaries": summaries, "relevance": relevance},
    )
    tasks = [Task(name, kind, f"Do {name}", False, 1.0, "made up", "fakes") for name, kind in KINDS.items()]
    write_tasks(tasks, folder / "tasks.yaml")
    return folder
