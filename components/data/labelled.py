"""Prepare a task from labelled texts: training rows and held-out evaluation rows.

positives: label    a query's positive is the text of its label: one document per label.
positives: example  a query's positive is another training text with its label (NV-Embed found this better than label
                    names for many-class tasks: 88.6 -> 94.4 on MTOPIntent); the texts are the corpus.
In both, rows carry their label, so that texts with equal labels are never used as negatives of each other.
"""

import re

import numpy as np
import polars as pl

from components.base.errors import UserError
from components.config import TaskParams
from components.data.account import Account
from components.data.assign import Pool
from components.data.distinct import DistinctTexts
from components.data.prepared import Prepared
from components.data.splits import Edges, groups, sort_by_hash

_NOT_HELD_OUT = pl.lit(None, dtype=pl.String)


def prepare_labelled(name: str, rows: pl.DataFrame, params: TaskParams, seed: int) -> Prepared:
    """Split a source of labelled texts; a text with several labels keeps the first."""
    if not {"text", "label"} <= set(rows.columns):
        raise UserError(f"has {', '.join(rows.columns)}; kind {params.kind} needs text and label")
    if params.train and params.positives == "document":
        raise UserError("holds labels, no documents; set positives: label or positives: example")
    texts = DistinctTexts(rows["text"], words=params.max_words)
    given = rows["split"].to_list() if "split" in rows.columns else [None] * len(rows)
    none = np.full(len(rows), -1, dtype=np.int64)
    edges = Edges(texts.numbers, none, given, texts.same, none[:0])
    found = groups(edges)
    pool = Pool(sort_by_hash(found, texts.keys([group.queries[0] for group in found]), seed, params.source))
    asked = {"train": params.train, "dev": params.dev if params.train else 0, "test": params.test}
    account = Account(len(texts), asked, stated=edges.count_stated())
    account.note(overruled=edges.count_overruled(found))
    account.note(variants=texts.variants, other_labels=_conflicts(texts.numbers, rows["label"]))
    if "instruction" in rows.columns:
        account.note(unused_instructions=len(rows) - rows["instruction"].null_count())
    wanted = {**asked, "train": max(params.train, params.fit)}
    sizes = pool.plan(wanted)
    account.plan({**sizes, "train": min(params.train, sizes["train"])})
    split = {part: pool.take(part, sizes[part]) for part in ("test", "dev")}
    split["train"] = pool.take_from_end("train", wanted["train"])
    every = _entries(name, texts, rows["label"])
    chosen = {part: every[[one for group in own for one in group.queries]] for part, own in split.items()}
    done = Prepared(benchmark=_benchmark(chosen, params), account=account)
    account.given["test"] = len(chosen["test"])
    if params.train and params.positives == "label":
        account.note(bare_labels=int((~rows["label"].unique().str.contains(r"\p{L}")).sum()))
    if params.train:
        train = chosen["train"][: params.train]
        (_with_labels if params.positives == "label" else _with_examples)(done, name, train, chosen["dev"])
        account.note(singletons=len(train) + len(chosen["dev"]) - len(done.queries))
    return done


def _conflicts(numbers: np.ndarray, labels: pl.Series) -> int:
    """Texts whose rows have several labels."""
    by_text = pl.DataFrame({"text": numbers, "label": labels}).group_by("text").agg(pl.col("label").n_unique())
    return int((by_text["label"] > 1).sum())


def _entries(name: str, texts: DistinctTexts, labels: pl.Series) -> pl.DataFrame:
    """Every distinct text by number, with its ids on both sides and the label of its first row."""
    numbers = np.arange(len(texts))
    columns = {side: texts.names(numbers, f"{name}-{side[0]}") for side in ("query_id", "doc_id")}
    return pl.DataFrame({**columns, "text": texts.series(numbers), "label": texts.of_first_rows(labels)})


def _benchmark(chosen: dict[str, pl.DataFrame], params: TaskParams) -> dict[str, pl.DataFrame]:
    parts = {"test": chosen["test"]}
    if params.kind == "classification":
        parts["train"] = chosen["train"][: params.fit]
    rows = {part: found.select("text", "label").sort("label", "text") for part, found in parts.items()}
    return {part: found for part, found in rows.items() if len(found) and len(chosen["test"])}


def _with_labels(done: Prepared, name: str, train: pl.DataFrame, dev: pl.DataFrame) -> None:
    rows = pl.concat([train.with_columns(split=pl.lit("train")), dev.with_columns(split=pl.lit("dev"))])
    labels = rows["label"].unique().sort().to_list()
    slugs = (re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-") for label in labels)
    ids = [f"{name}-label-{number:03d}-{slug}" for number, slug in enumerate(slugs)]
    documents = pl.DataFrame({"doc_id": ids, "label": labels}, schema={"doc_id": pl.String, "label": pl.String})
    pairs = rows.drop("doc_id").join(documents, on="label", maintain_order="left")
    done.add(documents.with_columns(text="label", split=_NOT_HELD_OUT), rows, pairs.with_columns(relevance=1.0))


def _with_examples(done: Prepared, name: str, train: pl.DataFrame, dev: pl.DataFrame) -> None:
    by_label: dict[str, list[str]] = {}
    for document, label in train.select("doc_id", "label").iter_rows():  # in hash order, so the neighbour is random
        by_label.setdefault(label, []).append(document)
    positive = {one: after for own in by_label.values() for one, after in zip(own, own[1:] + own[:1], strict=True)}
    neighbours = [positive[one] for one in train["doc_id"]]
    examples = (by_label.get(label) for label in dev["label"])
    answers = [same[number % len(same)] if same else None for number, same in enumerate(examples)]
    rows = pl.concat([train.with_columns(split=pl.lit("train")), dev.with_columns(split=pl.lit("dev"))])
    rows = rows.with_columns(positive=pl.Series([*neighbours, *answers], dtype=pl.String))
    rows = rows.filter(pl.col("positive").is_not_null() & (pl.col("positive") != pl.col("doc_id")))
    pairs = rows.select("query_id", doc_id="positive", relevance=pl.lit(1.0))
    done.add(train.with_columns(split=_NOT_HELD_OUT), rows, pairs)
