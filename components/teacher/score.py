"""Stage `score`: raw and calibrated teacher scores of every candidate and every positive.

`score.reranker` selects the teacher. `cross_encoder` and `llm` read query and document together and output a logit.
`maxsim` uses the dense teacher's weights only: raw = dense_weight * cosine + (1 - dense_weight) * late
interaction, in [-1, 1].
"""

import json
import logging
from dataclasses import asdict
from pathlib import Path

import numpy as np
import polars as pl

from components.base.errors import UserError
from components.base.threads import worker_count
from components.config import ScoreParams
from components.contracts.tables import CANDIDATES, TEACHER_SCORES, read_table, write_table
from components.data.inputs import Inputs, read_inputs
from components.stage.context import StageContext
from components.teacher.calibration import cross_fit_relevance, expected_calibration_error, fit_calibration
from components.teacher.reliability import Reliability, write_reliability
from components.teacher.rescoring import rescore_maxsim, rescore_pairs

log = logging.getLogger(__name__)
_LEAST = 20  # minimum of dev positives, and of other dev candidates, for a curve per task


def run(context: StageContext) -> dict[str, float]:
    """Write teacher_scores.parquet: raw `reranker_score` and calibrated `relevance` per pair."""
    inputs = read_inputs(context.outputs / "prepare")
    candidates = read_table(context.outputs / "retrieve" / "candidates.parquet", CANDIDATES)
    pairs = with_positives(candidates, inputs)
    log.info(
        "scoring %s candidates and positives with %s (%s)",
        f"{len(pairs):,}",
        context.config.score.model,
        context.config.score.reranker,
    )
    raw = _raw_scores(pairs, context)
    if not np.isfinite(raw).all():
        query, document = pairs.select("query_id", "doc_id").row(int(np.flatnonzero(~np.isfinite(raw))[0]))
        raise UserError(
            f"{context.config.score.model}: the score of query {query!r} and document {document!r} is not finite; "
            "check the reranker's weights and precision"
        )
    pairs = pairs.with_columns(reranker_score=pl.Series(raw.astype(np.float64)))
    scored, metrics = _calibrated(pairs, context.config.score, context.out)
    write_table(scored.select(list(TEACHER_SCORES.columns)), context.out / "teacher_scores.parquet", TEACHER_SCORES)
    log.info(
        "mean score: positives %.3f, others %.3f; calibration error %.3f",
        metrics["mean_score_positive"],
        metrics["mean_score_other"],
        metrics["calibration_error"],
    )
    return metrics


def with_positives(candidates: pl.DataFrame, inputs: Inputs) -> pl.DataFrame:
    """Candidates and positives, each pair once, with ids, texts, `task`, `split`, `positive`; sorted by rows."""
    pairs = pl.concat([candidates.select("query", "document"), inputs.qrels.select("query", "document")]).unique()
    positive = inputs.qrels.filter(pl.col("relevance") > 0).select("query", "document", positive=pl.lit(True))
    queries = inputs.queries.select("query_id", "split", "task", query="row", query_text="text")
    return (
        pairs.join(queries, on="query")
        .join(inputs.corpus.select("doc_id", document="row", document_text="text"), on="document")
        .join(candidates, on=["query", "document"], how="left")
        .join(positive, on=["query", "document"], how="left")
        .with_columns(pl.col("positive").fill_null(False))
        .sort("query", "document")
    )


def _raw_scores(pairs: pl.DataFrame, context: StageContext) -> np.ndarray:
    """float32 [pairs]; every pair of texts is scored once."""
    params, config = context.config.score, context.config
    models = context.outputs / "fetch" / "models"
    texts = pairs.select("query_text", "document_text")
    unique = texts.unique().sort("query_text", "document_text")
    threads = worker_count(config.threads)
    if params.reranker == "maxsim":
        dense = config.retrieve.dense.get(params.model)
        if dense is None:
            raise UserError(f"params.yaml: score.model: maxsim needs a teacher of retrieve.dense, not {params.model!r}")
        if dense.task_prompts:
            raise UserError(
                f"params.yaml: score.model: maxsim needs a teacher without task_prompts, not {params.model!r}"
            )
        scores = rescore_maxsim(unique, params, dense, models, context.cache, context.work, threads)
    else:
        scores = rescore_pairs(unique, params, models, context.work, threads)
    scored = unique.with_columns(score=pl.Series(scores))
    joined = texts.join(scored, on=["query_text", "document_text"], how="left", maintain_order="left")
    return joined["score"].to_numpy()


def _calibrated(pairs: pl.DataFrame, params: ScoreParams, out: Path) -> tuple[pl.DataFrame, dict[str, float]]:
    """Add `relevance`; write calibration.json and report.html. Fitted on dev pairs, else on all."""
    dev = pairs.filter(pl.col("split") == "dev")
    fitted_on, on = (dev, "dev queries") if len(dev) else (pairs, "training queries (there are no dev queries)")
    together = fit_calibration(params.calibration, *_labelled(fitted_on))
    curves, reliabilities, parts = {}, [], []
    for task in pairs["task"].unique().sort().to_list():
        task_pairs, fit = (frame.filter(pl.col("task") == task) for frame in (pairs, fitted_on))
        raw, positive = _labelled(fit)
        enough = min(int(positive.sum()), int((~positive).sum())) >= _LEAST
        curve = fit_calibration(params.calibration, raw, positive) if enough else together
        parts.append(task_pairs.with_columns(relevance=pl.Series(curve(task_pairs["reranker_score"].to_numpy()))))
        curves[task] = {**asdict(curve), "of": task if enough else "all tasks"}
        queries = fit["query"].rank("dense").to_numpy()
        relevance = cross_fit_relevance(params.calibration, raw, positive, queries) if enough else curve(raw)
        reliabilities.append(Reliability(task, curve, raw, relevance, positive, enough))
    (out / "calibration.json").write_text(json.dumps(curves, indent=2) + "\n", encoding="utf-8")
    write_reliability(out / "report.html", reliabilities, on)
    scored = pl.concat(parts).sort("query", "document")
    positives = scored.filter(pl.col("positive"))["reranker_score"].mean()
    others = scored.filter(~pl.col("positive"))["reranker_score"].mean()
    return scored, {
        "pairs": float(len(scored)),
        "mean_score_positive": float(positives or 0.0),  # type: ignore[arg-type]  # polars types mean() loosely
        "mean_score_other": float(others or 0.0),  # type: ignore[arg-type]
        "calibration_error": expected_calibration_error(
            np.concatenate([one.relevance for one in reliabilities]),
            np.concatenate([one.positive for one in reliabilities]),
        ),
    }


def _labelled(pairs: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """(raw scores, whether the pair is a labelled positive)."""
    return pairs["reranker_score"].to_numpy(), pairs["positive"].to_numpy()
