"""Ask a model: the documents of a corpus nearest to a question (`foundry ask`).

A document's vector is stored by the model's content and its own text, so the next question embeds only what is new, and
a retrained model never meets old vectors. Vectors stream from disk: memory holds the texts and a few blocks.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from components.base.errors import UserError
from components.base.progress import bar
from components.contracts.tasks import read_tasks
from components.serving.corpus import read_corpus, task_corpus
from components.tracking.load import keep_version
from components.tracking.registry import split_version

if TYPE_CHECKING:
    from components.model.sentence_model import SentenceModel, Side
    from components.search.exact import Hits

PROMPTS = "config_sentence_transformers.json"
STORED = 512  # documents embedded before their vectors are stored: what an interruption costs at most
BLOCK = 8192  # vectors that the search holds at a time, several times over


@dataclass(frozen=True)
class Answer:
    """Task, model, corpus, and the best documents with their cosine similarity, best first."""

    task: str
    instruction: str
    model: str
    corpus: str
    documents: int
    hits: list[tuple[float, str]]


@dataclass(frozen=True)
class Model:
    """A sentence-transformers folder, and its prompts by name (components/model/export.py)."""

    name: str
    folder: Path
    prompts: dict[str, str]

    @property
    def tasks(self) -> list[str]:
        """The tasks that it has a prompt for."""
        from components.tracking.embedder import tasks_of

        return tasks_of(self.prompts)


def ask(root: Path, question: str, task: str, corpus: Path | None, version: str, top: int) -> Answer:
    """The `top` documents nearest to `question`.

    Args:
        task: whose prompt goes before the question; the first retrieval task when empty.
        corpus: see `read_corpus`; the task's own documents when None.
        version: [MODEL/]VERSION of the registry; the model in outputs/train when empty.

    Raises:
        UserError: no model is trained, no such version or task, or the corpus cannot be read.
    """
    outputs = root / "outputs"
    model = registered_model(root, version) if version else trained_model(outputs)
    task = choose_task(model, task, outputs)
    file, texts = (corpus, read_corpus(corpus)) if corpus else task_corpus(outputs, task)
    hits = nearest(model, task, [question], texts, root / ".cache" / "vectors", top)[0]
    shown = file.relative_to(root) if file.is_relative_to(root) else file
    return Answer(task, instruction_of(model.prompts[task]), model.name, str(shown), len(texts), hits)


def instruction_of(prompt: str) -> str:
    """The instruction in a task's prompt: the line before the last, which begins the query; shots stand above it.

    >>> instruction_of("<instruct>Find it.\\n<query>a\\n<response>b\\n\\n<instruct>Find it.\\n<query>")
    'Find it.'
    """
    lines = prompt.rstrip().splitlines()
    return lines[-2].removeprefix("<instruct>").removeprefix("Instruct:").strip() if len(lines) > 1 else prompt


def trained_model(outputs: Path) -> Model:
    """The export of the train stage, with the prompts of the register stage where that has run (they have the shots).

    Raises:
        UserError: no model is trained yet.
    """
    folder, registered = outputs / "train" / "export", outputs / "register" / PROMPTS
    if not (folder / "modules.json").is_file():
        raise UserError(f"{folder}: no trained model here yet; make one: make run (or name one: --version production)")
    if registered.is_file():
        return Model("outputs/train/export, with the shots of outputs/register", folder, _prompts(registered))
    return Model("outputs/train/export, without shots", folder, _prompts(folder / PROMPTS))


def registered_model(root: Path, version: str) -> Model:
    """A version of the registry, kept below .cache. Raises UserError: there is none, or production is not gated."""
    folder = root / keep_version(root, *split_version(version))
    return Model(f"version {version} ({folder.name})", folder, _prompts(folder / PROMPTS))


def _prompts(file: Path) -> dict[str, str]:
    prompts: dict[str, str] = json.loads(file.read_text(encoding="utf-8"))["prompts"]
    return prompts


def choose_task(model: Model, task: str, outputs: Path) -> str:
    """`task` if the model knows it; when empty the first retrieval task of the checkout that it knows, or its first.

    Raises:
        UserError: the model has no prompt for the task.
    """
    if task:
        if task not in model.tasks:
            raise UserError(f"--task {task}: unknown; the model knows {', '.join(model.tasks)}")
        return task
    prepared = outputs / "prepare" / "tasks.yaml"
    tasks = read_tasks(prepared).values() if prepared.is_file() else []
    retrieval = [one.name for one in tasks if one.kind == "retrieval" and one.name in model.tasks]
    return [*retrieval, *model.tasks][0]


def nearest(
    model: Model, task: str, questions: Sequence[str], texts: Sequence[str], store: Path, top: int
) -> list[list[tuple[float, str]]]:
    """For each question the `top` texts with the largest cosine similarity, as (similarity, text).

    store: the folder of the vector store.
    """
    loaded, query = load_with_store(model, task, store)
    found = search_texts(loaded, query, loaded.document, questions, texts, top)
    return [
        [(float(score), texts[document]) for document, score in zip(*row, strict=True) if document >= 0]
        for row in zip(found.documents, found.scores, strict=True)
    ]


def load_with_store(model: Model, task: str, store: Path) -> "tuple[SentenceModel, Side]":
    """The encoder with its vector store, and how it takes the queries of a task."""
    from components.model.device import device_of
    from components.model.sentence_model import SentenceModel, Side

    loaded = SentenceModel.load(model.folder, device_of("auto"), store=store)
    return loaded, Side(model.prompts[task], loaded.query.kind)


def search_texts(
    model: "SentenceModel", query: "Side", document: "Side", questions: Sequence[str], texts: Sequence[str], top: int
) -> "Hits":
    """The `top` texts nearest to each question, by exact search; `model` has a store, which is filled first."""
    from components.search.exact import exact_search

    if document == model.document:
        _embed_missing(model, texts)

    def blocks() -> Iterator[np.ndarray]:
        for start in range(0, len(texts), BLOCK):
            yield model.encode(texts[start : start + BLOCK], document)

    return exact_search(model.encode(questions, query), blocks, min(top, len(texts)))


def _embed_missing(model: "SentenceModel", texts: Sequence[str]) -> None:
    """Embed and store, piece by piece, the documents that the model's store lacks."""
    from components.model.sentence_model import text_key

    assert model.store is not None
    stored = model.store.has([text_key(model.document, text) for text in texts])
    missing = list(dict.fromkeys(text for text, known in zip(texts, stored, strict=True) if not known))
    if not missing:
        return
    with bar("documents", len(missing), "text") as shown:
        for start in range(0, len(missing), STORED):
            part = missing[start : start + STORED]
            model.encode_documents(part)
            shown.update(len(part))
