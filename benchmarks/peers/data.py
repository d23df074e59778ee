"""What every side trains on: the training pairs of `prepare`, and the student as a plain folder of transformers."""

import argparse
import json
import resource
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from components.base.errors import UserError
from components.contracts.tables import CORPUS, OWN_NEGATIVES, QRELS, QUERIES, read_table
from components.contracts.tasks import Task, read_tasks


@dataclass(frozen=True)
class TaskPairs:
    """One training task: (query, positive) rows, and the documents that a negative may come from.

    labelled: positives are label texts or examples of a label, so two rows of one label must not be negatives.
    """

    task: Task
    pairs: list[tuple[str, str]]
    documents: list[str]
    own_negatives: dict[str, list[str]]


def training_pairs(prepared: Path) -> Iterator[TaskPairs]:
    """The training tasks of `prepare`'s folder, with every positive pair of a training query.

    Raises:
        UserError: a table is missing.
    """
    queries = read_table(prepared / "queries.parquet", QUERIES).filter(pl.col("split") == "train")
    corpus = read_table(prepared / "corpus.parquet", CORPUS)
    texts = corpus.select(pl.col("row").alias("document"), pl.col("text").alias("positive"))
    asked = queries.select(pl.col("row").alias("query"), "task", "text")
    judged = read_table(prepared / "qrels.parquet", QRELS).filter(pl.col("relevance") > 0)
    positive = judged.join(asked, on="query").join(texts, on="document").sort("query", "document")
    negative = read_table(prepared / "own_negatives.parquet", OWN_NEGATIVES).join(asked, on="query")
    negative = negative.join(texts, on="document").sort("query", "document")
    for name, task in read_tasks(prepared / "tasks.yaml").items():
        rows = positive.filter(pl.col("task") == name)
        if rows.is_empty():
            continue
        own: dict[str, list[str]] = {}
        for query, document in negative.filter(pl.col("task") == name).select("text", "positive").iter_rows():
            own.setdefault(query, []).append(document)
        documents = corpus.filter(pl.col("task") == name, pl.col("split").is_null())["text"].unique().sort().to_list()
        yield TaskPairs(task, list(rows.select("text", "positive").iter_rows()), documents, own)


def write_student(model: Path, out: Path, end_of_text: bool = True) -> None:
    """The student for a library that tokenises plainly: an eos after every text, so that its last token is one.

    Raises:
        UserError: the tokenizer has no eos.
    """
    from tokenizers.processors import TemplateProcessing
    from transformers import AutoModel, PreTrainedTokenizerFast

    from components.model.locate import locate_model

    folder = locate_model(model)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    if tokenizer.eos_token is None:
        raise UserError(f"{folder}: the tokenizer has no eos token")
    if end_of_text:
        eos = tokenizer.eos_token
        tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
            single=f"$A {eos}", pair=f"$A $B {eos}", special_tokens=[(eos, tokenizer.eos_token_id)]
        )
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    out.mkdir(parents=True)
    tokenizer.save_pretrained(out)
    AutoModel.from_pretrained(folder, dtype="float32").save_pretrained(out)


def save_sentence_model(merged: Path, tokens: int, out: Path) -> None:
    """A decoder's folder as one of sentence-transformers: last token, normalised; `merged` is deleted."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Normalize, Pooling, Transformer

    body = Transformer(str(merged), max_seq_length=tokens)
    model = SentenceTransformer(modules=[body, Pooling(body.get_embedding_dimension(), "lasttoken"), Normalize()])
    model.save_pretrained(str(out))
    shutil.rmtree(merged)


def cpu_seconds() -> float:
    """User and system seconds of this process and of the children it has waited for."""
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def arguments_of(doc: str | None) -> argparse.Namespace:
    """The command line of a peer."""
    parser = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    for name in ("prepared", "student", "teacher", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--rate", type=float, required=True, help="learning rate")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--batch", type=int, default=32, help="queries in a step")
    parser.add_argument("--tokens", type=int, default=64, help="longest text in training")
    parser.add_argument("--evaluated-tokens", type=int, default=96, help="longest text in evaluation")
    parser.add_argument("--python", default="", help="Python of the peer's own environment")
    return parser.parse_args()


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> None:
    """One JSON object a line."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
