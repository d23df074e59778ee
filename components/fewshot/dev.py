"""A task's dev data: the texts that a prompt is tried on, and the measure that scores it (measures.py).

Texts are prompted as at evaluation: queries, and all texts of classification and clustering, behind instruction
and shots; documents bare, or behind the instruction in symmetric tasks. Documents get no shots, so they are encoded
once for all prompts.
"""

import heapq
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from components.contracts.shots import Shot
from components.contracts.tasks import Task
from components.data.inputs import Inputs
from components.data.shot_pool import LEAST_DEV, Candidate, labelled_queries
from components.data.splits import rank
from components.fewshot.measures import Clusters, GradedPairs, Measure, Probe, Ranking
from components.model.embed_shard import Shard, Way, embed
from components.model.stored_embedder import TextEncoder

FITTED_EACH, FITTED = 8, 400  # training texts that a probe is fitted on: of a label (as mteb's 8 or 16), in all
OTHERS = 1000  # documents beside the dev queries' own, where none are held out with them


class NoMeasureError(Exception):
    """The task has no dev data that a prompt could be scored on; the message says what is missing."""


@dataclass
class DevSet:
    """`queries` get the shots; `documents` do not, and there may be none."""

    task: Task
    queries: list[str]
    documents: list[str]
    measure: Measure
    _vectors: np.ndarray | None = None

    def query_shard(self, shots: Sequence[Shot]) -> Shard:
        """The texts behind these shots."""
        return Shard(Way(False, self.task.instruction, tuple(shots)), self.queries)

    def document_shard(self) -> Shard:
        """The documents; the same for all shots."""
        way = Way(False, self.task.instruction) if self.task.symmetric else Way(document=True)
        return Shard(way, self.documents)

    def shards(self, tried: Iterable[Sequence[Shot]]) -> list[Shard]:
        """All that scoring these shots embeds."""
        return [*(self.query_shard(shots) for shots in tried), self.document_shard()]

    def values(self, encoder: TextEncoder, shots: Sequence[Shot]) -> np.ndarray:
        """The measure's value of every dev example: float64 [measure.size]."""
        if self._vectors is None:
            self._vectors = embed(encoder, self.document_shard())
        return self.measure.values(embed(encoder, self.query_shard(shots)), self._vectors)


def dev_set(inputs: Inputs, task: Task, limit: int, seed: int, pool: Sequence[Candidate] = ()) -> DevSet:
    """The task's dev data with at most `limit` dev queries.

    Args:
        pool: the candidates for shots: a probe is fitted on other training texts, as long as there are.

    Raises:
        NoMeasureError: fewer than LEAST_DEV examples that can be scored.
    """
    queries = labelled_queries(inputs, task)
    dev = _in_order(queries.filter(pl.col("split") == "dev"), task, "dev", seed).head(limit).rows(named=True)
    labelled = bool(dev) and all(row["label"] is not None for row in dev)
    if task.kind == "classification" and labelled:
        found = _probe(task, dev, _in_order(queries.filter(pl.col("split") == "train"), task, "fit", seed), pool)
    elif task.kind == "clustering" and labelled:
        found = _clusters(task, dev)
    else:
        graded = _graded_pairs(inputs, task, dev) if task.kind == "sts" else None
        found = graded or _ranking(inputs, task, dev, seed)
    if found.measure.size < LEAST_DEV:
        raise NoMeasureError(f"{found.measure.size} dev examples have a relevant text, and a choice takes {LEAST_DEV}")
    return found


def _in_order(rows: pl.DataFrame, task: Task, purpose: str, seed: int) -> pl.DataFrame:
    ids = rows["query_id"].to_list()
    return rows[sorted(range(len(ids)), key=lambda place: rank(seed, f"{purpose}-{task.name}", str(ids[place])))]


def _probe(task: Task, dev: list[dict[str, Any]], train: pl.DataFrame, pool: Sequence[Candidate]) -> DevSet:
    """The first FITTED_EACH training texts of each label, those that may be shots last, and the dev texts."""
    last = train["row"].is_in([one.query_row for one in pool])
    taken: Counter[str] = Counter()
    fitted: list[dict[str, Any]] = []
    for row in pl.concat([train.filter(~last), train.filter(last)]).iter_rows(named=True):
        if row["label"] is not None and taken[row["label"]] < FITTED_EACH and len(fitted) < FITTED:
            taken[row["label"]] += 1
            fitted.append(row)
    if len(taken) < 2:
        raise NoMeasureError(f"training texts of {len(taken)} labels, and a classifier takes 2")
    known, wanted = (np.array([row["label"] for row in rows]) for rows in (fitted, dev))
    return DevSet(task, [row["text"] for row in [*fitted, *dev]], [], Probe(known, wanted))


def _clusters(task: Task, dev: list[dict[str, Any]]) -> DevSet:
    _, labels = np.unique([row["label"] for row in dev], return_inverse=True)
    if labels.max() == 0:
        raise NoMeasureError("the dev texts have one label, so every clustering of them is right")
    return DevSet(task, [row["text"] for row in dev], [], Clusters(labels))


def _graded_pairs(inputs: Inputs, task: Task, dev: list[dict[str, Any]]) -> DevSet | None:
    """All judged pairs of the dev queries; None if they have one grade only."""
    place = {row["row"]: i for i, row in enumerate(dev)}
    pairs = inputs.qrels.filter(pl.col("query").is_in(list(place))).sort("query", "document")
    documents = inputs.corpus.filter(pl.col("row").is_in(pairs["document"].unique().to_list()))
    document_place = {row: i for i, row in enumerate(documents["row"])}
    grades = pairs["relevance"].to_numpy()
    if not len(grades) or np.unique(grades, return_counts=True)[1].max() > len(grades) - 2:
        return None
    measure = GradedPairs(
        np.array([place[query] for query in pairs["query"]]),
        np.array([document_place[document] for document in pairs["document"]]),
        grades,
    )
    return DevSet(task, [row["text"] for row in dev], documents["text"].to_list(), measure)


def _ranking(inputs: Inputs, task: Task, dev: list[dict[str, Any]], seed: int) -> DevSet:
    """Dev queries with a positive, over the held-out documents; where none are, over their positives and OTHERS."""
    positives = inputs.qrels.filter(
        pl.col("query").is_in([row["row"] for row in dev]),
        pl.col("relevance") > 0,
        pl.col("relevance") >= (task.positive_score or 0.0),
    )
    own = inputs.corpus.filter(pl.col("task") == task.name)
    documents = own.filter(pl.col("split") == "dev")
    if documents.is_empty():
        wanted = pl.col("row").is_in(positives["document"].unique().to_list())
        rest = own.filter(~wanted)["row"]
        others = heapq.nsmallest(OTHERS, rest, key=lambda row: rank(seed, f"others-{task.name}", str(row)))
        documents = own.filter(wanted | pl.col("row").is_in(others))
    place = {row: i for i, row in enumerate(documents["row"])}
    relevant: dict[int, list[int]] = {}
    for query, document in positives.select("query", "document").iter_rows():
        if document in place:
            relevant.setdefault(query, []).append(place[document])
    rows = [row for row in dev if row["row"] in relevant]
    marked = np.zeros((len(rows), len(place)), dtype=bool)
    for i, row in enumerate(rows):
        marked[i, relevant[row["row"]]] = True
    return DevSet(task, [row["text"] for row in rows], documents["text"].to_list(), Ranking(marked))
