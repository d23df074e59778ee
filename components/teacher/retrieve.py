"""The retrieve stage: for every training and dev query, the documents of its own task worth a closer look.

BM25 and every dense teacher give their `depth` best; one fused score orders their union.
"""

from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
from safetensors.numpy import save_file

from components.config import DenseTeacherParams, RetrieveParams
from components.contracts import CANDIDATES, write_table
from components.data.inputs import Inputs, Pool, read_inputs
from components.stage import StageContext
from components.teacher.approximate import approximate_search
from components.teacher.bm25 import bm25_search
from components.teacher.dense import EmbeddedTexts
from components.teacher.engine import worker_count
from components.teacher.fusion import hits_table, reciprocal_rank, z_scores
from components.teacher.search import DOCUMENT_BLOCK, exact_search


def run(context: StageContext) -> dict[str, float]:
    """Write candidates.parquet: the dense_* columns are those of the first dense teacher."""
    inputs = read_inputs(context.outputs / "prepare")
    params, threads = context.config.retrieve, worker_count(context.config.threads)
    teachers = {
        name: EmbeddedTexts(context.outputs / "fetch" / "models", name, dense, context.cache)
        for name, dense in params.dense.items()
    }
    _embed(inputs, teachers, params, threads)
    for name in params.keep_vectors:
        write_vectors(context.out / "vectors", name, teachers[name], params.dense[name], inputs)
    recall: dict[str, float] = {}
    tables = [_retrieve_pool(pool, teachers, params, threads, recall) for pool in inputs.pools()]
    candidates = pl.concat(tables).sort("query_id", "doc_id")
    write_table(candidates, context.out / "candidates.parquet", CANDIDATES)
    return {**_recall(candidates, inputs), **recall}


def _embed(inputs: Inputs, teachers: dict[str, EmbeddedTexts], params: RetrieveParams, threads: int) -> None:
    for name, teacher in teachers.items():
        dense = params.dense[name]
        for what, frame, prompt in (
            ("documents", inputs.corpus, dense.document_prompt),
            ("queries", inputs.queries, dense.query_prompt),
        ):
            label = f"retrieve: {name}: {what}"
            teacher.fill(frame["text"].to_list(), prompt, label, params.engine.shard, params.engine, threads)


def write_vectors(folder: Path, name: str, teacher: EmbeddedTexts, params: DenseTeacherParams, inputs: Inputs) -> None:
    """<folder>/<name>.safetensors: float16 `queries` and `documents` [n, dim], rows as in `read_inputs`."""
    folder.mkdir(exist_ok=True)
    vectors = {
        "queries": teacher.all(inputs.queries["text"].to_list(), params.query_prompt).astype(np.float16),
        "documents": teacher.all(inputs.corpus["text"].to_list(), params.document_prompt).astype(np.float16),
    }
    save_file(vectors, folder / f"{name}.safetensors")


def _retrieve_pool(
    pool: Pool,
    teachers: dict[str, EmbeddedTexts],
    params: RetrieveParams,
    threads: int,
    recall: dict[str, float],
) -> pl.DataFrame:
    documents, asked = pool.corpus["text"].to_list(), pool.queries["text"].to_list()
    rankings, weights = {}, {}
    if params.bm25 is not None:
        label = f"retrieve: bm25: {pool.name}"
        rankings["bm25"] = hits_table(bm25_search(documents, asked, params.depth, params.bm25, threads, label))
        weights["bm25"] = params.bm25.weight
    for name, teacher in teachers.items():
        dense = params.dense[name]
        vectors = teacher.all(asked, dense.query_prompt)
        blocks = partial(teacher.blocks, documents, dense.document_prompt, DOCUMENT_BLOCK)
        if params.index.kind == "exact":
            hits = exact_search(vectors, blocks, params.depth, threads)
        else:
            hits, share = approximate_search(vectors, blocks, len(documents), params.depth, params.index, threads)
            recall[f"index_recall/{name}/{pool.name}"] = share
        rankings[name] = hits_table(hits)
        weights[name] = dense.weight
    fused = reciprocal_rank(rankings, weights, params.rrf_k) if params.fusion == "rrf" else z_scores(rankings, weights)
    return _candidates(fused, rankings, pool.queries, pool.corpus)


def _candidates(
    fused: pl.DataFrame, rankings: dict[str, pl.DataFrame], queries: pl.DataFrame, corpus: pl.DataFrame
) -> pl.DataFrame:
    """Positions to ids; the columns of the contract."""
    table = fused.rename({"fused": "fused_score"})
    empty = pl.DataFrame(schema={"query": pl.Int64, "document": pl.Int64, "rank": pl.Int64, "score": pl.Float64})
    dense = next((name for name in rankings if name != "bm25"), None)
    for column, ranking in (("bm25", rankings.get("bm25", empty)), ("dense", rankings[dense] if dense else empty)):
        renamed = ranking.rename({"rank": f"{column}_rank", "score": f"{column}_score"})
        table = table.join(renamed, on=["query", "document"], how="left", maintain_order="left")
    return table.with_columns(
        query_id=queries["query_id"].gather(table["query"]), doc_id=corpus["doc_id"].gather(table["document"])
    ).select(list(CANDIDATES.columns))


def _recall(candidates: pl.DataFrame, inputs: Inputs) -> dict[str, float]:
    """Share of the positives that are among the candidates, by retriever."""
    found = inputs.qrels.join(candidates, on=["query_id", "doc_id"], how="left")
    by = {"recall_bm25": "bm25_rank", "recall_dense": "dense_rank", "recall": "fused_score"}
    return {
        **{name: 1 - found[column].null_count() / len(found) for name, column in by.items()},
        "candidates_per_query": len(candidates) / len(inputs.queries),
    }
