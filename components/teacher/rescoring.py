"""Teacher scores of many pairs, in shards that survive a kill."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from components.base.files import whole_file
from components.config import DenseTeacherParams, ScoreParams
from components.model.load_once import load_once
from components.model.sentence_model import Side, text_key
from components.model.vector_store import TokenVectorStore, VectorStore
from components.stage.executor import run_shards
from components.teacher.cross_encoder import CrossEncoderTeacher
from components.teacher.dense import EmbeddedTexts
from components.teacher.llm_reranker import LlmTeacher
from components.teacher.maxsim import maxsim

PAIRS_A_SHARD = 4096


def rescore_pairs(pairs: pl.DataFrame, params: ScoreParams, models: Path, work: Path, threads: int) -> np.ndarray:
    """float32 [pairs]: raw scores of query_text and document_text read together, by length over all queries."""
    length = pl.col("query_text").str.len_chars() + pl.col("document_text").str.len_chars()
    order = pairs.with_row_index("place").sort(length, "place", descending=[True, False])
    shards, files = [], []
    for start in range(0, len(order), PAIRS_A_SHARD):
        part = order.slice(start, PAIRS_A_SHARD)
        files.append(work / "scores" / f"{start // PAIRS_A_SHARD:06d}.npy")
        texts = part.select("query_text", "document_text").rows()
        shards.append((files[-1], models, params, texts))
    waiting = [shard for shard in shards if not shard[0].exists()]
    run_shards(score_pairs_shard, waiting, f"score: {params.reranker}", params.engine, threads)
    scores = np.empty(len(pairs), dtype=np.float32)
    scores[order["place"].to_numpy()] = np.concatenate([np.load(file) for file in files])
    return scores


def score_pairs_shard(out: Path, models: Path, params: ScoreParams, pairs: Sequence[tuple[str, str]]) -> None:
    """Raw scores of one shard's pairs, float32 [n], into the .npy file `out`."""
    _save(out, load_once(_RerankerSource(models, params)).score(pairs))


def rescore_maxsim(
    pairs: pl.DataFrame,
    params: ScoreParams,
    dense: DenseTeacherParams,
    models: Path,
    cache: Path,
    work: Path,
    threads: int,
) -> np.ndarray:
    """float32 [pairs]: late interaction and cosine, fused; token vectors that the store lacks are computed first."""
    dense = dense.model_copy(update={"token_vectors": True})
    embedded = EmbeddedTexts(models, params.model, dense, cache)
    sides = Side(dense.query_prompt), Side(dense.document_prompt)
    texts: dict[Side, list[str]] = {}
    for side, column in zip(sides, ("query_text", "document_text"), strict=True):
        texts.setdefault(side, []).extend(pairs[column].unique(maintain_order=True).to_list())
    embedded.fill(texts, "score: texts", params.engine, threads)
    order = pairs.with_row_index("place").sort("document_text", "query_text")
    groups = order.group_by("document_text", maintain_order=True).agg("query_text").rows()
    where = (embedded.store, embedded.identity, sides, params.dense_weight)
    shards, files = [], []
    for start in range(0, len(groups), params.engine.shard):
        files.append(work / "scores" / f"{start // params.engine.shard:06d}.npy")
        shards.append((files[-1], *where, groups[start : start + params.engine.shard]))
    waiting = [shard for shard in shards if not shard[0].exists()]
    run_shards(score_maxsim_shard, waiting, "score: late interaction", params.engine, threads)
    scores = np.empty(len(pairs), dtype=np.float32)
    scores[order["place"].to_numpy()] = np.concatenate([np.load(file) for file in files])
    return scores


def score_maxsim_shard(
    out: Path,
    store: Path,
    identity: str,
    sides: tuple[Side, Side],
    dense_weight: float,
    groups: Sequence[tuple[str, list[str]]],
) -> None:
    """Fused scores of one shard, [(document, its queries)], float32 in that order, into the .npy file `out`."""
    pooled_store, token_store = VectorStore(store, identity), TokenVectorStore(store, identity)
    asked = list(dict.fromkeys(query for _, queries in groups for query in queries))
    query_keys = [text_key(sides[0], text) for text in asked]
    document_keys = [text_key(sides[1], document) for document, _ in groups]
    tokens = {text: m.astype(np.float32) for text, m in zip(asked, token_store.get(query_keys), strict=True)}
    pooled = dict(zip(asked, pooled_store.read(query_keys), strict=True))
    parts = []
    documents = zip(pooled_store.read(document_keys), _in_chunks(token_store, document_keys), strict=True)
    for (_, queries), (vector, matrix) in zip(groups, documents, strict=True):
        late = maxsim([tokens[query] for query in queries], matrix.astype(np.float32))
        cosine = (np.stack([pooled[query] for query in queries]) * vector).sum(axis=1)
        parts.append(dense_weight * cosine + (1 - dense_weight) * late)
    _save(out, np.concatenate(parts).astype(np.float32))


def _in_chunks(store: TokenVectorStore, keys: Sequence[str], size: int = 64) -> Iterator[np.ndarray]:
    """The token vectors of each key; few are in memory at a time."""
    for start in range(0, len(keys), size):
        yield from store.get(keys[start : start + size])


def _save(out: Path, scores: np.ndarray) -> None:
    with whole_file(out) as partial, partial.open("wb") as handle:
        np.save(handle, scores, allow_pickle=False)


@dataclass(frozen=True)
class _RerankerSource:
    models: Path
    params: ScoreParams

    def load(self) -> CrossEncoderTeacher | LlmTeacher:
        params = self.params
        if params.reranker == "llm":
            return LlmTeacher.load(
                self.models, params.model, params.instruction, params.max_tokens, params.token_budget
            )
        return CrossEncoderTeacher.load(self.models, params.model, params.max_tokens, params.token_budget)
