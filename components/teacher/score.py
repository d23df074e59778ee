"""The score stage: the teacher's score of every candidate and every positive, raw and calibrated.

Three teachers stand behind `score.reranker`. `cross_encoder` and `llm` read query and document together; a logit each.
`maxsim` needs no weights beyond the dense teacher's: raw = dense_weight * cosine + (1 - dense_weight) * late
interaction, in [-1, 1].
"""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import polars as pl

from components.config import ScoreParams
from components.contracts import CANDIDATES, TEACHER_SCORES, read_table, write_table
from components.data.inputs import Inputs, read_inputs
from components.errors import UserError
from components.stage import StageContext
from components.teacher.calibration import expected_calibration_error, fit_calibration
from components.teacher.engine import worker_count
from components.teacher.reliability import write_reliability
from components.teacher.rescoring import rescore_maxsim, rescore_pairs


def run(context: StageContext) -> dict[str, float]:
    """Write teacher_scores.parquet: raw `reranker_score` and calibrated `relevance` per pair."""
    inputs = read_inputs(context.outputs / "prepare")
    candidates = read_table(context.outputs / "retrieve" / "candidates.parquet", CANDIDATES)
    pairs = with_positives(candidates, inputs)
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
    return metrics


def with_positives(candidates: pl.DataFrame, inputs: Inputs) -> pl.DataFrame:
    """Candidates and positives, each pair once, with both texts, `split` and `positive` (bool); sorted by ids."""
    pairs = pl.concat([candidates.select("query_id", "doc_id"), inputs.qrels.select("query_id", "doc_id")]).unique()
    positive = inputs.qrels.select("query_id", "doc_id", positive=pl.lit(True))
    queries = inputs.queries.select("query_id", "split", query_text="text")
    return (
        pairs.join(queries, on="query_id")
        .join(inputs.corpus.select("doc_id", document_text="text"), on="doc_id")
        .join(candidates, on=["query_id", "doc_id"], how="left")
        .join(positive, on=["query_id", "doc_id"], how="left")
        .with_columns(pl.col("positive").fill_null(False))
        .sort("query_id", "doc_id")
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
            raise UserError(f"params.yaml: score.model: maxsim needs one of retrieve.dense, not {params.model!r}")
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
    """Add `relevance`; write calibration.json and report.html. Fitted on dev, or on all where there is no dev query."""
    dev = pairs.filter(pl.col("split") == "dev")
    fitted_on, on = (dev, "the dev queries") if len(dev) else (pairs, "the training queries (there are no dev queries)")
    curve = fit_calibration(
        params.calibration, fitted_on["reranker_score"].to_numpy(), fitted_on["positive"].to_numpy()
    )
    pairs = pairs.with_columns(relevance=pl.Series(curve(pairs["reranker_score"].to_numpy())))
    (out / "calibration.json").write_text(json.dumps(asdict(curve), indent=2) + "\n", encoding="utf-8")
    raw, positive = fitted_on["reranker_score"].to_numpy(), fitted_on["positive"].to_numpy()
    relevance = curve(raw)
    write_reliability(out / "report.html", curve, raw, relevance, positive, on)
    positives = pairs.filter(pl.col("positive"))["reranker_score"].mean()
    others = pairs.filter(~pl.col("positive"))["reranker_score"].mean()
    return pairs, {
        "pairs": float(len(pairs)),
        "mean_score_positive": float(positives or 0.0),  # type: ignore[arg-type]  # polars types mean() loosely
        "mean_score_other": float(others or 0.0),  # type: ignore[arg-type]
        "calibration_error": expected_calibration_error(relevance, positive),
    }
