"""Stage `retrieve`: candidate documents for every training and dev query, from its own task.

BM25 and each dense teacher retrieve their top `depth`; a fused score ranks the union.
"""

import logging
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
from safetensors.numpy import save_file

from components.base.threads import worker_count
from components.config import RetrieveParams
from components.contracts.tables import CANDIDATES, write_table
from components.contracts.tasks import read_tasks
from components.data.inputs import Inputs, Pool, read_inputs
from components.model.sentence_model import Side
from components.search.approximate import approximate_search
from components.search.bm25 import bm25_search
from components.search.fusion import hits_table, reciprocal_rank, z_scores
from components.search.stream import DOCUMENT_BLOCK
from components.stage.context import StageContext
from components.teacher.dense import EmbeddedTexts
from components.teacher.pool_search import search_pool

log = logging.getLogger(__name__)
Sides = dict[str, tuple[Side, Side]]  # by task: a teacher's (query side, document side)


def run(context: StageContext) -> dict[str, float]:
    """Write candidates.parquet: the dense_* columns are those of the first dense teacher."""
    inputs = read_inputs(context.outputs / "prepare")
    params = context.config.retrieve
    models = context.outputs / "fetch" / "models"
    log.info(
        "%s queries and %s documents of %s tasks",
        f"{len(inputs.queries):,}",
        f"{len(inputs.corpus):,}",
        len(inputs.tasks),
    )
    teachers: dict[str, EmbeddedTexts] = {}
    sides: dict[str, Sides] = {}
    for name, dense in params.dense.items():  # one by one: a process holds one model at a time
        teachers[name] = EmbeddedTexts(models, name, dense, context.cache)
        sides[name] = _sides(teachers[name], inputs, context.outputs / "prepare")
        _embed(inputs, teachers[name], sides[name], params, worker_count(context.config.threads))
    for name in params.keep_vectors:
        write_vectors(context.out / "vectors", name, teachers[name], sides[name], inputs)
    recall: dict[str, float] = {}
    tables = [_retrieve_pool(pool, teachers, sides, context, recall) for pool in inputs.pools()]
    candidates = pl.concat(tables).sort("query", "document")
    write_table(candidates, context.out / "candidates.parquet", CANDIDATES)
    metrics = {**_recall(candidates, inputs), **recall}
    log.info(
        "%s candidates, %.1f per query; they include %.1f %% of the positives",
        f"{len(candidates):,}",
        metrics["candidates_per_query"],
        100 * metrics["recall"],
    )
    return metrics


def _sides(teacher: EmbeddedTexts, inputs: Inputs, prepared: Path) -> Sides:
    """(query side, document side) by task."""
    tasks = read_tasks(prepared / "tasks.yaml") if teacher.params.task_prompts else {}
    return {task: teacher.sides(task, task in tasks and tasks[task].symmetric) for task in inputs.tasks}


def _embed(inputs: Inputs, teacher: EmbeddedTexts, sides: Sides, params: RetrieveParams, threads: int) -> None:
    """Embed each text once, in one run of shards."""
    texts: dict[Side, list[str]] = {}
    for task, pair in sides.items():
        for side, frame in zip(pair, (inputs.queries, inputs.corpus), strict=True):
            texts.setdefault(side, []).extend(frame.filter(pl.col("task") == task)["text"].to_list())
    teacher.fill(texts, f"retrieve: {teacher.name}: texts", params.engine, threads)


def write_vectors(folder: Path, name: str, teacher: EmbeddedTexts, sides: Sides, inputs: Inputs) -> None:
    """<folder>/<name>.safetensors: float16 `queries` and `documents` [n, dim], by row of the tables of prepare.

    Rows that `read_inputs` leaves out are zero.
    """
    folder.mkdir(exist_ok=True)
    vectors = {}
    for place, (what, frame) in enumerate((("queries", inputs.queries), ("documents", inputs.corpus))):
        rows = {
            task: np.flatnonzero((frame["task"] == task).to_numpy())
            for task in frame["task"].unique(maintain_order=True)
        }
        parts = [teacher.all(frame["text"].gather(own).to_list(), sides[task][place]) for task, own in rows.items()]
        places = frame["row"].to_numpy()[np.concatenate(list(rows.values()))]
        vectors[what] = np.zeros((int(places.max()) + 1, parts[0].shape[1]), dtype=np.float16)
        vectors[what][places] = np.concatenate(parts)
    save_file(vectors, folder / f"{name}.safetensors")


def _retrieve_pool(
    pool: Pool,
    teachers: dict[str, EmbeddedTexts],
    sides: dict[str, Sides],
    context: StageContext,
    recall: dict[str, float],
) -> pl.DataFrame:
    params, threads = context.config.retrieve, worker_count(context.config.threads)
    documents, query_texts = pool.corpus["text"].to_list(), pool.queries["text"].to_list()
    rankings, weights = {}, {}
    if params.bm25 is not None:
        label = f"retrieve: bm25: {pool.name}"
        rankings["bm25"] = hits_table(bm25_search(documents, query_texts, params.depth, params.bm25, threads, label))
        weights["bm25"] = params.bm25.weight
    for name, teacher in teachers.items():
        query_side, document_side = sides[name][pool.queries["task"][0]]
        if params.index.kind == "exact":
            label = f"retrieve: {name}: {pool.name}"
            texts, queries = (documents, document_side), (query_texts, query_side)
            hits = search_pool(teacher, texts, queries, params.depth, context.work, label, params.engine, threads)
        else:
            blocks = partial(teacher.blocks, documents, document_side, DOCUMENT_BLOCK)
            vectors = teacher.all(query_texts, query_side)
            hits, share = approximate_search(vectors, blocks, len(documents), params.depth, params.index, threads)
            recall[f"index_recall/{name}/{pool.name}"] = share
        rankings[name] = hits_table(hits)
        weights[name] = params.dense[name].weight
    fused = reciprocal_rank(rankings, weights, params.rrf_k) if params.fusion == "rrf" else z_scores(rankings, weights)
    return _candidates(fused, rankings, pool.queries, pool.corpus)


def _candidates(
    fused: pl.DataFrame, rankings: dict[str, pl.DataFrame], queries: pl.DataFrame, corpus: pl.DataFrame
) -> pl.DataFrame:
    """Map positions in the pool to rows; returns the columns of CANDIDATES."""
    table = fused.rename({"fused": "fused_score"})
    empty = pl.DataFrame(schema={"query": pl.Int64, "document": pl.Int64, "rank": pl.Int64, "score": pl.Float64})
    dense = next((name for name in rankings if name != "bm25"), None)
    for column, ranking in (("bm25", rankings.get("bm25", empty)), ("dense", rankings[dense] if dense else empty)):
        renamed = ranking.rename({"rank": f"{column}_rank", "score": f"{column}_score"})
        table = table.join(renamed, on=["query", "document"], how="left", maintain_order="left")
    return table.with_columns(
        query=queries["row"].gather(table["query"]), document=corpus["row"].gather(table["document"])
    ).select(list(CANDIDATES.columns))


def _recall(candidates: pl.DataFrame, inputs: Inputs) -> dict[str, float]:
    """Share of the positives that are among the candidates, by retriever."""
    positives = inputs.qrels.filter(pl.col("relevance") > 0)
    joined = positives.join(candidates, on=["query", "document"], how="left")
    by = {"recall_bm25": "bm25_rank", "recall_dense": "dense_rank", "recall": "fused_score"}
    return {
        **{name: 1 - joined[column].null_count() / len(joined) for name, column in by.items()},
        "candidates_per_query": len(candidates) / len(inputs.queries),
    }
