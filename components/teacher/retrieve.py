"""Stage `retrieve`: candidate documents for every training and dev query, from its own task.

BM25 and each dense teacher retrieve their top `depth`; a fused score ranks the union. Work goes task by task: texts are
read from disk by row (BM25's index of one task is in memory), and candidates are written some queries at a time.
"""

import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import polars as pl

from components.base.threads import worker_count
from components.contracts.streams import TableWriter
from components.contracts.tables import CANDIDATES
from components.contracts.tasks import read_tasks
from components.contracts.texts import Texts
from components.data.inputs import Inputs, Pool, read_inputs
from components.model.load_once import load_once
from components.model.sentence_model import SentenceModel, Side
from components.model.unknown_tokens import sample_tasks, warn_unknown_tokens
from components.search.approximate import approximate_search
from components.search.bm25 import bm25_search
from components.search.exact import Hits
from components.search.fusion import hits_table, reciprocal_rank, z_scores
from components.search.stream import DOCUMENT_BLOCK
from components.stage.context import StageContext
from components.teacher.dense import EmbeddedTexts, Rows
from components.teacher.kept_vectors import write_vectors
from components.teacher.pairs import query_blocks
from components.teacher.pool_search import search_pool

log = logging.getLogger(__name__)
Sides = dict[str, tuple[Side, Side]]  # by task: a teacher's (query side, document side)
_FOUND_BY = {"recall_bm25": "bm25_rank", "recall_dense": "dense_rank", "recall": "fused_score"}


def run(context: StageContext) -> dict[str, float]:
    """Write candidates.parquet: the dense_* columns are those of the first dense teacher."""
    prepared = context.outputs / "prepare"
    inputs = read_inputs(prepared, texts=False)
    queries, documents = (Texts.of_table(prepared / f"{name}.parquet", context.cache) for name in ("queries", "corpus"))
    log.info(
        "%s queries and %s documents of %s tasks",
        f"{len(inputs.queries):,}",
        f"{len(inputs.corpus):,}",
        len(inputs.tasks),
    )
    retrieval = Retrieval(context, inputs, queries, documents, {}, {}, {})
    retrieval.embed()
    counts: Counter[str] = Counter()
    with TableWriter(context.out / "candidates.parquet", CANDIDATES) as writer:
        for task in inputs.tasks:
            for candidates, qrels in retrieval.candidates(task):
                writer.append(candidates)
                counts += _found(candidates, qrels)
    metrics = {name: counts[name] / len(inputs.positives) for name in _FOUND_BY}
    metrics |= {"candidates_per_query": counts["candidates"] / len(inputs.queries), **retrieval.index_recall}
    log.info(
        "%s candidates, %.1f per query; they include %.1f %% of the positives",
        f"{counts['candidates']:,}",
        metrics["candidates_per_query"],
        100 * metrics["recall"],
    )
    return metrics


@dataclass(frozen=True)
class Retrieval:
    """The tables, the teachers with their sides, and the recall of each approximate index."""

    context: StageContext
    inputs: Inputs
    queries: Texts
    documents: Texts
    teachers: dict[str, EmbeddedTexts]
    sides: dict[str, Sides]
    index_recall: dict[str, float]

    def embed(self) -> None:
        """Embed all texts, teacher by teacher: a process holds one model at a time."""
        params, context = self.context.config.retrieve, self.context
        models, threads = context.outputs / "fetch" / "models", worker_count(context.config.threads)
        samples = sample_tasks((self.queries, self.inputs.queries), (self.documents, self.inputs.corpus))
        for name, dense in params.dense.items():
            teacher = EmbeddedTexts(models, name, dense, context.cache)
            tasks = read_tasks(context.outputs / "prepare" / "tasks.yaml") if dense.task_prompts else {}
            self.teachers[name] = teacher
            self.sides[name] = {
                task: teacher.sides(task, task in tasks and tasks[task].symmetric) for task in self.inputs.tasks
            }
            model: SentenceModel = load_once(teacher.source)
            warn_unknown_tokens(name, model.model.tokenizer, samples)
            rows = [part for task in self.inputs.tasks for part in self._rows(name, task)]
            teacher.fill(rows, f"retrieve: {name}: texts", params.engine, threads)
        for name in params.keep_vectors:
            parts = [self._rows(name, task) for task in self.inputs.tasks]
            write_vectors(context.out / "vectors" / f"{name}.safetensors", self.teachers[name], parts)

    def candidates(self, task: str) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
        """(candidates, positives) of some queries of a task at a time, sorted by query."""
        pools = [(pool, self._search(pool)) for pool in self.inputs.pools(task)]
        qrels = self.inputs.qrels
        for block in query_blocks(self.inputs.queries.filter(pl.col("task") == task)):
            start, stop = (qrels["query"].search_sorted(row) for row in (block.start, block.stop))
            found = [self._fused(pool, hits, block.start, block.stop) for pool, hits in pools]
            yield pl.concat(found).sort("query", "document"), qrels.slice(start, stop - start)

    def _rows(self, name: str, task: str) -> tuple[Rows, Rows]:
        """(queries, documents) of a task, as they are prompted for a teacher."""
        queries, documents = (
            frame.filter(pl.col("task") == task)["row"].to_numpy().astype(np.int64)
            for frame in (self.inputs.queries, self.inputs.corpus)
        )
        query_side, document_side = self.sides[name][task]
        return Rows(query_side, self.queries, queries), Rows(document_side, self.documents, documents)

    def _search(self, pool: Pool) -> dict[str, Hits]:
        """The hits of each retriever, as positions in the pool."""
        params, threads = self.context.config.retrieve, worker_count(self.context.config.threads)
        rows = [frame["row"].to_numpy().astype(np.int64) for frame in (pool.queries, pool.corpus)]
        hits = {}
        if params.bm25 is not None:
            label = f"retrieve: bm25: {pool.name}"
            documents = (text for block in Rows(Side(), self.documents, rows[1]).blocks() for text in block.read())
            queries = self.queries.take(rows[0])
            hits["bm25"] = bm25_search(documents, queries, params.depth, params.bm25, threads, label)
        for name, teacher in self.teachers.items():
            query_side, document_side = self.sides[name][pool.queries["task"][0]]
            asked, found = Rows(query_side, self.queries, rows[0]), Rows(document_side, self.documents, rows[1])
            if params.index.kind == "exact":
                label, work = f"retrieve: {name}: {pool.name}", self.context.work
                hits[name] = search_pool(teacher, found, asked, params.depth, work, label, params.engine, threads)
            else:
                blocks = partial(teacher.blocks, found, DOCUMENT_BLOCK)
                own = approximate_search(teacher.all(asked), blocks, len(rows[1]), params.depth, params.index, threads)
                hits[name], self.index_recall[f"index_recall/{name}/{pool.name}"] = own
        return hits

    def _fused(self, pool: Pool, hits: dict[str, Hits], start: int, stop: int) -> pl.DataFrame:
        """Candidates of the pool's queries with rows start ... stop - 1."""
        params, rows = self.context.config.retrieve, pool.queries["row"]
        first, last = (rows.search_sorted(row) for row in (start, stop))
        rankings = {
            name: hits_table(Hits(own.documents[first:last], own.scores[first:last])) for name, own in hits.items()
        }
        weights = {name: params.dense[name].weight for name in self.teachers}
        if params.bm25 is not None:
            weights["bm25"] = params.bm25.weight
        if params.fusion == "rrf":
            fused = reciprocal_rank(rankings, weights, params.rrf_k)
        else:
            fused = z_scores(rankings, weights)
        return _named_by_row(fused, rankings, rows.slice(first, last - first), pool.corpus["row"])


def _named_by_row(
    fused: pl.DataFrame, rankings: dict[str, pl.DataFrame], queries: pl.Series, documents: pl.Series
) -> pl.DataFrame:
    """Map positions in the pool to rows; returns the columns of CANDIDATES."""
    table = fused.rename({"fused": "fused_score"})
    empty = pl.DataFrame(schema={"query": pl.Int64, "document": pl.Int64, "rank": pl.Int64, "score": pl.Float64})
    dense = next((name for name in rankings if name != "bm25"), None)
    for column, ranking in (("bm25", rankings.get("bm25", empty)), ("dense", rankings[dense] if dense else empty)):
        renamed = ranking.rename({"rank": f"{column}_rank", "score": f"{column}_score"})
        table = table.join(renamed, on=["query", "document"], how="left", maintain_order="left")
    return table.with_columns(
        query=queries.gather(table["query"]), document=documents.gather(table["document"])
    ).select(list(CANDIDATES.columns))


def _found(candidates: pl.DataFrame, qrels: pl.DataFrame) -> Counter[str]:
    """Candidates, and positives that are among them, by retriever."""
    joined = qrels.filter(pl.col("relevance") > 0).join(candidates, on=["query", "document"], how="left")
    found = {name: len(joined) - joined[column].null_count() for name, column in _FOUND_BY.items()}
    return Counter({"candidates": len(candidates), **found})
