"""Score a few-shot prompt on a task's dev data: nDCG@10 of each dev query.

In tasks with labelled dev queries (classification, clustering) each query ranks the other dev texts, and those with the
same label are relevant: their evaluation depends on the geometry of prompted texts. All other tasks rank the dev
documents. Documents get no shots, so they are encoded once for all prompts.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from components.contracts.shots import Shot
from components.contracts.tasks import Task
from components.data.inputs import Inputs
from components.data.splits import rank
from components.model.embed_shard import Shard, Way, embed
from components.model.stored_embedder import TextEncoder
from components.statistics.ndcg import ndcg_at_10


@dataclass
class DevSet:
    """One task's dev data: `relevant[i, j]`: text j is relevant to query i (diagonal False without documents)."""

    task: Task
    queries: list[str]
    documents: list[str] | None  # None: the queries rank each other
    relevant: np.ndarray  # bool [queries, documents or queries]
    _vectors: np.ndarray | None = None

    def query_shard(self, shots: Sequence[Shot]) -> Shard:
        """The dev queries behind these shots."""
        return Shard(Way(False, self.task.instruction, tuple(shots)), self.queries)

    def document_shard(self) -> Shard:
        """The dev documents, none where the queries rank each other; the same whatever the shots."""
        way = Way(False, self.task.instruction) if self.task.symmetric else Way(document=True)
        return Shard(way, self.documents or [])

    def shards(self, tried: Iterable[Sequence[Shot]]) -> list[Shard]:
        """All that scoring these shots embeds."""
        return [*(self.query_shard(shots) for shots in tried), self.document_shard()]

    def scores(self, encoder: TextEncoder, shots: Sequence[Shot]) -> np.ndarray:
        """nDCG@10 of every dev query: float64 [n]."""
        vectors = embed(encoder, self.query_shard(shots))
        if self.documents is None:
            similarity = vectors @ vectors.T
            np.fill_diagonal(similarity, -np.inf)
        else:
            similarity = vectors @ self._document_vectors(encoder).T
        return ndcg_at_10(similarity, self.relevant)

    def _document_vectors(self, encoder: TextEncoder) -> np.ndarray:
        if self._vectors is None:
            self._vectors = embed(encoder, self.document_shard())
        return self._vectors


def dev_set(inputs: Inputs, task: Task, limit: int, seed: int) -> DevSet | None:
    """The task's dev data, at most `limit` queries; None if fewer than 2 queries can be scored."""
    dev_queries = inputs.queries.filter((pl.col("task") == task.name) & (pl.col("split") == "dev"))
    rows = sorted(dev_queries.iter_rows(named=True), key=lambda row: rank(seed, f"dev-{task.name}", row["query_id"]))[
        :limit
    ]
    if not rows:
        return None
    labels = [row["label"] for row in rows]
    if all(label is not None for label in labels):
        same = np.array(labels)[:, None] == np.array(labels)[None, :]
        np.fill_diagonal(same, False)
        return _scorable(DevSet(task, [row["text"] for row in rows], None, same))
    documents = inputs.corpus.filter((pl.col("task") == task.name) & (pl.col("split") == "dev"))
    place = {row: i for i, row in enumerate(documents["row"])}
    query_place = {row["row"]: i for i, row in enumerate(rows)}
    relevant = np.zeros((len(rows), len(place)), dtype=bool)
    for query, document in inputs.qrels.select("query", "document").iter_rows():
        if query in query_place and document in place:
            relevant[query_place[query], place[document]] = True
    return _scorable(DevSet(task, [row["text"] for row in rows], documents["text"].to_list(), relevant))


def _scorable(dev: DevSet) -> DevSet | None:
    """Drop queries without a relevant text (documents are kept); None if fewer than 2 queries are left."""
    keep = np.flatnonzero(dev.relevant.any(axis=1))
    if len(keep) < 2:
        return None
    relevant = dev.relevant[keep] if dev.documents is not None else dev.relevant[np.ix_(keep, keep)]
    return DevSet(dev.task, [dev.queries[i] for i in keep], dev.documents, relevant)
