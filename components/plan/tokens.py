"""Numbers of texts and tokens of a run: counted if prepare has run, else estimated.

Counted: up to SAMPLE texts of each task are tokenized with the student's tokenizer and prompt; mean length times number
of texts. Estimated: the recipe's row caps times ASSUMED lengths (means of the MTEB tasks of that kind, characters
divided by 4.5), cut to the prompt's limits.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.config import Config, PromptParams, TaskParams

SAMPLE = 400
ASSUMED = {  # mean tokens of a query and of a document
    "retrieval": (17, 150),
    "reranking": (17, 110),
    "classification": (60, 5),
    "clustering": (110, 110),
    "pair_classification": (25, 25),
    "sts": (25, 25),
    "summarization": (60, 60),
}
INSTRUCTION, TAIL, SHOT_MARKS = 22, 4, 8  # tokens of an instruction with its template, after a query, around a shot


@dataclass(frozen=True)
class TaskTexts:
    """Sizes of one task. Tokens are means, including bos, eos and the prompt's tail, cut to the limits (`trained_`: to
    those of training)."""

    name: str
    queries: int  # train examples
    dev: int
    documents: int
    query_tokens: float
    document_tokens: float
    trained_query_tokens: float
    trained_document_tokens: float
    prefix_tokens: float
    shot_tokens: float
    symmetric: bool
    weight: float


def estimated_texts(config: Config) -> list[TaskTexts]:
    """Estimate from the recipe alone; tasks without training are left out."""
    return [_estimated(name, task, config) for name, task in config.prepare.tasks.items() if task.train]


def _estimated(name: str, task: TaskParams, config: Config) -> TaskTexts:
    prompt, trained, source = config.prompt, config.training_prompt, config.fetch.sources[task.source]
    query, document = (float(mean) for mean in ASSUMED[task.kind])
    if task.max_words:
        query, document = min(query, 1.35 * task.max_words), min(document, 1.35 * task.max_words)
    own = 1 + (source.negatives or 0) if source.shape == "positives_and_negatives" else 1
    labels = task.positives == "label"
    return TaskTexts(
        name=name,
        queries=task.train,
        dev=task.dev,
        documents=50 if labels else (task.train + task.dev) * own + task.dev_documents,
        query_tokens=min(query, prompt.query_tokens + prompt.prefix_tokens - INSTRUCTION) + TAIL,
        document_tokens=min(document + 2, prompt.document_tokens),
        trained_query_tokens=min(query, trained.query_tokens) + TAIL,
        trained_document_tokens=min(document + 2, trained.document_tokens),
        prefix_tokens=INSTRUCTION,
        shot_tokens=min(query, prompt.example_tokens) + min(document, prompt.example_tokens) + SHOT_MARKS + INSTRUCTION,
        symmetric=task.symmetric,
        weight=task.weight,
    )


def counted_texts(outputs: Path, prompt: Any, trained: PromptParams) -> list[TaskTexts]:
    """Count from the tables that prepare wrote.

    Args:
        prompt: the student's `components.model.prompt.Prompt`.
        trained: the lengths that training cuts to (`Config.training_prompt`).
    """
    from components.contracts.tables import CORPUS, QUERIES, read_task
    from components.contracts.tasks import read_tasks

    files = outputs / "prepare" / "corpus.parquet", outputs / "prepare" / "queries.parquet"
    corpus, queries = (_rows_by_task(file) for file in files)
    found = []
    for task in read_tasks(outputs / "prepare" / "tasks.yaml").values():
        own, documents = queries.get(task.name, {}), sum(corpus.get(task.name, {}).values())
        train = own.get("train", 0)
        if not train or not documents:
            continue
        passages, texts = (
            read_task(file, table, task.name, ["text"], split, SAMPLE)["text"].to_list()
            for file, table, split in zip(files, (CORPUS, QUERIES), (None, "train"), strict=True)
        )
        prefix, cut = len(prompt.prefix_ids(task.instruction)), prompt.params.example_tokens
        query_ids, text_ids = prompt.query_ids(texts, prefix), prompt.document_ids(passages)
        found_by = prompt.query_ids(passages, prefix) if task.symmetric else text_ids
        query_limit = trained.query_tokens + len(prompt.query_ids([""])[0])
        document_limit = query_limit if task.symmetric else trained.document_tokens
        found.append(
            TaskTexts(
                name=task.name,
                queries=train,
                dev=sum(own.values()) - train,
                documents=documents,
                query_tokens=_mean(query_ids),
                document_tokens=_mean(found_by),
                trained_query_tokens=_mean([ids[:query_limit] for ids in query_ids]),
                trained_document_tokens=_mean([ids[:document_limit] for ids in found_by]),
                prefix_tokens=prefix,
                shot_tokens=_mean([ids[:cut] for ids in query_ids]) + _mean([ids[:cut] for ids in text_ids]) + prefix,
                symmetric=task.symmetric,
                weight=task.weight,
            )
        )
    return found


def _rows_by_task(file: Path) -> dict[str, dict[str | None, int]]:
    """Number of rows by task and split; no text is read."""
    import polars as pl

    counts: dict[str, dict[str | None, int]] = {}
    for task, split, number in pl.scan_parquet(file).group_by("task", "split").len().collect().iter_rows():
        counts.setdefault(task, {})[split] = number
    return counts


def _mean(sequences: list[list[int]]) -> float:
    return sum(map(len, sequences)) / len(sequences)


def training_tokens(config: Config, tasks: list[TaskTexts]) -> float:
    """Tokens of the whole training run, each shared prefix once per row (dev checks not counted)."""
    weights = [task.weight * task.queries**config.train.alpha for task in tasks]
    each = [sum(step_tokens(config, task)) for task in tasks]
    return config.train.steps * sum(w * n for w, n in zip(weights, each, strict=True)) / sum(weights)


def step_tokens(config: Config, task: TaskTexts) -> tuple[float, float]:
    """(query tokens, document tokens) of one batch of this task; only distinct documents count."""
    train = config.train
    batch = min(train.batch_queries, task.queries)
    shared = config.encoder.attention == "causal" and config.encoder.pooling == "last"
    chunks = math.ceil(batch / train.shots.share)
    queries = 0.0
    for shots, chance in enumerate(train.shots.chances):
        prefix = min(task.prefix_tokens + shots * task.shot_tokens, config.prompt.prefix_tokens)
        each = _packed(batch / chunks, task.trained_query_tokens, prefix, train.row_tokens, shared)
        queries += chunks * chance * each
    drawn = batch * (1 + train.negatives)
    distinct = task.documents * (1 - (1 - 1 / task.documents) ** drawn)
    own_prefix = task.prefix_tokens if task.symmetric else 0.0
    return queries, _packed(distinct, task.trained_document_tokens, own_prefix, train.row_tokens, shared)


def _packed(number: float, length: float, prefix: float, row_tokens: int, shared: bool) -> float:
    if not shared:
        return number * (length + prefix)
    rows = math.ceil(number * length / max(row_tokens - prefix, length))
    return number * length + rows * prefix
