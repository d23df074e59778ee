"""Stage `score`: raw and calibrated teacher scores of candidates and of every positive.

`score.reranker` selects the teacher. `cross_encoder` and `llm` read query and document together and output a logit.
`maxsim` uses the dense teacher's weights only: raw = dense_weight * cosine + (1 - dense_weight) * late
interaction, in [-1, 1]. `score.second` is a second teacher, whose scores are fused with those (fusion.py).

Work goes a block of queries at a time and holds rows, never texts: memory does not grow with the pairs.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from components.base.errors import UserError
from components.base.progress import progress
from components.base.threads import worker_count
from components.config import DenseTeacherParams, SecondTeacherParams
from components.contracts.streams import TableWriter
from components.contracts.tables import TEACHER_SCORES
from components.contracts.texts import Texts
from components.data.inputs import Inputs, read_inputs
from components.model.sentence_model import Side
from components.model.unknown_tokens import load_plain_tokenizer, sample_tasks, warn_unknown_tokens
from components.stage.context import StageContext
from components.teacher.carried_scores import carry_scores
from components.teacher.curves import MOST, Curves, fit_curves
from components.teacher.dense import EmbeddedTexts, Rows
from components.teacher.fusion import Fusion
from components.teacher.pair_model import PairModel
from components.teacher.pairs import Block, Pairs, query_blocks
from components.teacher.rescoring import Rescoring, scores_folder
from components.teacher.scorers import LateInteraction, Reranker
from components.teacher.source_scores import on_our_scale, read_source_scores
from components.teacher.wanted import wanted_queries

log = logging.getLogger(__name__)


def run(context: StageContext) -> dict[str, float]:
    """Write teacher_scores.parquet: raw `reranker_score` and calibrated `relevance` per pair."""
    prepared = context.outputs / "prepare"
    inputs = read_inputs(prepared, texts=False)
    queries, documents = (Texts.of_table(prepared / f"{name}.parquet", context.cache) for name in ("queries", "corpus"))
    wanted = wanted_queries(inputs, context.config, prepared)
    left_out = len(inputs.queries) - int(wanted.sum())
    log.info(
        "scoring with %s (%s): %s queries; %s that training does not draw are left out (score.queries: %s)",
        context.config.score.model,
        context.config.score.reranker,
        f"{int(wanted.sum()):,}",
        f"{left_out:,}",
        context.config.score.queries,
    )
    _warn_unknown_tokens(context, inputs, queries, documents)
    blocks = query_blocks(inputs.queries)
    candidates = context.outputs / "retrieve" / "candidates.parquet"
    pairs = Pairs(inputs, candidates, queries, documents, wanted, context.work / "tables")
    rescoring = _rescoring(pairs, blocks, context)
    what = "late interaction" if rescoring.by_document else context.config.score.reranker
    engine, threads = context.config.score.engine, worker_count(context.config.threads)
    if context.config.score.source_scores == "use":
        given, texts = read_source_scores(prepared, inputs), (queries, documents)
        scorer, seed = rescoring.scorer, context.config.seed
        pairs.given = on_our_scale(given, inputs, scorer, texts, context.work, seed, engine, threads)
    rescoring.run(blocks, f"score: {what}", engine, threads)
    scored: Rescoring | Fusion = rescoring
    if (params := context.config.score.second) is not None:
        second = _second_teacher(params, pairs, blocks, context)
        second.run(blocks, f"score: {second.model}", engine, threads)
        scored = Fusion.of(rescoring, second, blocks, params.weight)
    fitted, on = _pairs_to_fit(scored, blocks, inputs)
    curves = fit_curves(fitted, on, context.config.score, context.out)
    metrics = _write(scored, pairs, blocks, curves, context)
    log.info(
        "%s pairs; mean score: positives %.3f, others %.3f; calibration error %.3f",
        f"{int(metrics['pairs']):,}",
        metrics["mean_score_positive"],
        metrics["mean_score_other"],
        curves.error,
    )
    counts = {"queries_left_out": float(left_out), "source_scores": float(len(pairs.given))}
    return {**metrics, "calibration_error": curves.error, **counts}


def _warn_unknown_tokens(context: StageContext, inputs: Inputs, queries: Texts, documents: Texts) -> None:
    """Warn of texts that the tokenizers cannot represent; retrieve has checked those of its own models."""
    params, models = context.config.score, context.outputs / "fetch" / "models"
    names = {params.model, *([params.second.model] if params.second else [])} - set(context.config.retrieve.dense)
    samples = sample_tasks((queries, inputs.queries), (documents, inputs.corpus)) if names else {}
    for name in sorted(names):
        warn_unknown_tokens(name, load_plain_tokenizer(models / name), samples)


def _rescoring(pairs: Pairs, blocks: Sequence[Block], context: StageContext) -> Rescoring:
    params, models = context.config.score, context.outputs / "fetch" / "models"
    prepared = context.outputs / "prepare"
    texts = [pairs.queries, pairs.documents]
    if params.reranker == "maxsim":
        late = _late_interaction(pairs, blocks, context)
        vectors = [late.identity, *map(repr, (late.query, late.document))]
        folder = scores_folder(context.cache, models, params, texts, vectors)
        return Rescoring(pairs, late, True, folder, context.work, prepared, params.model)
    folder = scores_folder(context.cache, models, params, texts)
    carry_scores(folder, pairs, blocks, context.cache)
    return Rescoring(pairs, Reranker(models, params), False, folder, context.work, prepared, params.model)


def _second_teacher(
    second: SecondTeacherParams, pairs: Pairs, blocks: Sequence[Block], context: StageContext
) -> Rescoring:
    models = context.outputs / "fetch" / "models"
    folder = scores_folder(context.cache, models, second, [pairs.queries, pairs.documents])
    by_document = second.reranker in ("dense", "sparse")  # then each document is encoded once
    if not by_document:
        carry_scores(folder, pairs, blocks, context.cache)
    work, prepared = context.work / "second", context.outputs / "prepare"
    scorer = PairModel(models, second, "score.second")
    return Rescoring(pairs, scorer, by_document, folder, work, prepared, second.model)


def _late_interaction(pairs: Pairs, blocks: Sequence[Block], context: StageContext) -> LateInteraction:
    """The scorer, with token vectors of all texts of the pairs in the store."""
    config, params = context.config, context.config.score
    dense = _dense_teacher(context).model_copy(update={"token_vectors": True})
    embedded = EmbeddedTexts(context.outputs / "fetch" / "models", params.model, dense, context.cache)
    sides = Side(dense.query_prompt), Side(dense.document_prompt)
    used = np.zeros(len(pairs.queries), dtype=bool), np.zeros(len(pairs.documents), dtype=bool)
    for block in progress(blocks, "score: texts", unit="block"):
        table = pairs.table(block)
        for rows, column in zip(used, ("first_query", "first_document"), strict=True):
            rows[table[column].to_numpy()] = True
    texts = (pairs.queries, pairs.documents)
    wanted = [Rows(side, own, np.flatnonzero(rows)) for side, own, rows in zip(sides, texts, used, strict=True)]
    embedded.fill(wanted, "score: texts", params.engine, worker_count(config.threads))
    return LateInteraction(embedded.store, embedded.identity, *sides, params.dense_weight)


def _dense_teacher(context: StageContext) -> DenseTeacherParams:
    name = context.config.score.model
    dense = context.config.retrieve.dense.get(name)
    if dense is None:
        raise UserError(f"params.yaml: score.model: maxsim needs a teacher of retrieve.dense, not {name!r}")
    if dense.task_prompts:
        raise UserError(f"params.yaml: score.model: maxsim needs a teacher without task_prompts, not {name!r}")
    return dense


def _pairs_to_fit(
    scored: Rescoring | Fusion, blocks: Iterable[Block], inputs: Inputs
) -> tuple[dict[str, pl.DataFrame], str]:
    """(by task: query, reranker_score, positive of at most about MOST dev pairs; what they are).

    All pairs take the place of the dev pairs where no task has any.
    """
    dev = inputs.queries.filter(pl.col("split") == "dev").select(query="row")
    on = "dev queries" if len(dev) else "training queries (there are no dev queries)"
    fitted: dict[str, list[pl.DataFrame]] = {}
    for block in blocks:
        parts = fitted.setdefault(block.task, [])
        asked = dev.filter(pl.col("query").is_between(block.start, block.stop, closed="left"))
        if sum(map(len, parts)) >= MOST or (len(dev) and asked.is_empty() and parts):
            continue
        own = scored.table(block).select("query", "reranker_score", "positive")
        parts.append(own.join(asked, on="query", how="semi", maintain_order="left") if len(dev) else own)
    return {task: pl.concat(parts) for task, parts in fitted.items()}, on


@dataclass
class _Mean:
    total: float = 0.0
    number: int = 0

    def add(self, values: pl.Series) -> None:
        self.total += float(values.sum())
        self.number += len(values)

    @property
    def value(self) -> float:
        return self.total / self.number if self.number else 0.0


def _write(
    scored: Rescoring | Fusion, pairs: Pairs, blocks: Sequence[Block], curves: Curves, context: StageContext
) -> dict[str, float]:
    """Write teacher_scores.parquet; returns counts and means."""
    positives, others = _Mean(), _Mean()
    with TableWriter(context.out / "teacher_scores.parquet", TEACHER_SCORES) as writer:
        for block in progress(blocks, "score: write", unit="block"):
            scores = scored.table(block)
            raw = scores["reranker_score"].to_numpy()
            candidates = pairs.candidates(block)
            rows = scores.join(candidates, on=["query", "document"], how="left", maintain_order="left")
            relevance = pl.Series(curves.by_task[block.task](raw))
            writer.append(rows.with_columns(relevance=relevance).select(list(TEACHER_SCORES.columns)))
            positives.add(scores.filter(pl.col("positive"))["reranker_score"])
            others.add(scores.filter(~pl.col("positive"))["reranker_score"])
    return {
        "pairs": float(positives.number + others.number),
        "mean_score_positive": positives.value,
        "mean_score_other": others.value,
    }
