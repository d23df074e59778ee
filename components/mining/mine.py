"""Stage `mine`: hard negatives for every training and dev query, and the reason for each rejected candidate.

A candidate is kept when the teacher scores it below the margin of the query's weakest positive and no other rule
(components/mining/rules.py) rejects it. Scores in the output are raw teacher scores (`reranker_score`), the logits for
distillation: the trainer divides them by its teacher temperature.
"""

import json
import logging

import polars as pl

from components.base.errors import UserError
from components.base.overlap import normalise
from components.config import MineParams
from components.contracts.tables import REJECTIONS, TEACHER_SCORES, TRIPLETS, read_table, write_table
from components.data.inputs import Inputs, read_inputs
from components.mining.adaptive import fit_margins, hardest, margin_curves
from components.mining.duplicates import near_duplicates
from components.mining.report import write_report
from components.mining.rules import apply_rules
from components.mining.suspicious import suspicious_positives
from components.stage.context import StageContext

log = logging.getLogger(__name__)


def run(context: StageContext) -> dict[str, float]:
    """Write triplets, rejections and suspicious (Parquet), margins.json and report.html."""
    inputs = read_inputs(context.outputs / "prepare")
    file = context.outputs / "score" / "teacher_scores.parquet"
    scores = read_table(file, TEACHER_SCORES)
    params = context.config.mine
    positives = positive_scores(scores, inputs, str(file))
    facts = gather_facts(scores, positives, inputs, params)
    curves = margin_curves(facts.filter(pl.col("split") == "dev"), params)
    margins = fit_margins(curves, params)
    judged = apply_rules(with_margins(facts, margins, params), params)
    rejected = judged.filter(pl.col("reason").is_not_null())
    triplets = build_triplets(judged, positives, params.negatives)
    suspicious = suspicious_positives(judged, positives, params.suspicious)
    evidence = rejected.select("query", "document", "reason", "score", "threshold")
    write_table(evidence, context.out / "rejections.parquet", REJECTIONS)
    write_table(triplets, context.out / "triplets.parquet", TRIPLETS)
    suspicious.write_parquet(context.out / "suspicious.parquet", compression="zstd", statistics=False)
    (context.out / "margins.json").write_text(json.dumps(margins, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    write_report(
        context.out / "report.html", inputs, judged, positives, suspicious, curves, params, context.config.seed
    )
    metrics = _metrics(triplets, judged, suspicious, curves, margins)
    _log_counts(metrics, len(judged))
    return metrics


def _log_counts(metrics: dict[str, float], candidates: int) -> None:
    refused = ", ".join(
        f"{key.removeprefix('rejected/')} {int(n):,}" for key, n in metrics.items() if "rejected/" in key
    )
    log.info(
        "%s candidates: %.1f %% usable as negatives; rejected: %s",
        f"{candidates:,}",
        100 * metrics["kept_share"],
        refused or "none",
    )
    log.info(
        "%s positives with %.1f negatives on average; %s without negatives; %s suspicious",
        f"{int(metrics['triplets']):,}",
        metrics["negatives_per_positive"],
        f"{int(metrics['positives_without_negatives']):,}",
        f"{int(metrics['suspicious_positives']):,}",
    )


def positive_scores(scores: pl.DataFrame, inputs: Inputs, file: str) -> pl.DataFrame:
    """query, document, score of every positive. Raises UserError when the teacher did not score one."""
    scored = inputs.qrels.select("query", "document").join(
        scores.select("query", "document", score="reranker_score"), on=["query", "document"], how="left"
    )
    unscored = scored.filter(pl.col("score").is_null())
    if len(unscored):
        row, found = unscored.sort("query", "document").select("query", "document").row(0)
        query = inputs.queries.row(by_predicate=pl.col("row") == row, named=True)["query_id"]
        document = inputs.corpus.row(by_predicate=pl.col("row") == found, named=True)["doc_id"]
        raise UserError(f"{file}: no score for positive {document!r} of query {query!r}; run the score stage again")
    return scored.sort("query", "document")


def gather_facts(scores: pl.DataFrame, positives: pl.DataFrame, inputs: Inputs, params: MineParams) -> pl.DataFrame:
    """Input of the rules: one row per candidate except positives; sorted by query, document.

    Columns: query, document, task, split, score, relevance, rank, weakest, same_label, same_as_query, duplicate.
    """
    queries = inputs.queries.select("task", "split", query="row", query_label="label", query_text="text")
    documents = inputs.corpus.select(document="row", document_label="label", document_text="text")
    weakest = positives.group_by("query").agg(weakest=pl.col("score").min())
    ranked = scores.filter(pl.col("fused_score").is_not_null()).with_columns(
        rank=pl.col("fused_score").rank("ordinal", descending=True).over("query").cast(pl.Int64)
    )
    facts = (
        ranked.select("query", "document", "relevance", "rank", score="reranker_score")
        .join(positives, on=["query", "document"], how="anti")
        .join(weakest, on="query")
        .join(queries, on="query")
        .join(documents, on="document")
        .join(_copies(ranked, positives, inputs, params), on=["query", "document"], how="left")
        .sort("query", "document")
    )
    words = {text: normalise(text, punctuation=False) for text in {*facts["query_text"], *facts["document_text"]}}
    equal = [words[query] == words[text] for query, text in facts.select("query_text", "document_text").iter_rows()]
    return facts.with_columns(
        same_label=(pl.col("query_label") == pl.col("document_label")).fill_null(False),
        same_as_query=pl.Series(equal, dtype=pl.Boolean),
    ).drop("query_label", "document_label", "query_text", "document_text")


def _copies(ranked: pl.DataFrame, positives: pl.DataFrame, inputs: Inputs, params: MineParams) -> pl.DataFrame:
    """query, document, duplicate: the overlap of candidates that copy a positive of their query."""
    compared = ranked.select("query", right="document").join(positives.select("query", left="document"), on="query")
    compared = compared.filter(pl.col("left") != pl.col("right"))
    used = inputs.corpus.join(
        pl.concat([compared.select(row="left"), compared.select(row="right")]).unique(), on="row", how="semi"
    )
    texts = dict(used.select("row", "text").iter_rows())
    pairs = compared.select("left", "right").unique().sort("left", "right")
    found = near_duplicates(pairs, texts, params.near_duplicate)
    return (
        compared.join(found, on=["left", "right"])
        .group_by("query", document="right")
        .agg(duplicate=pl.col("overlap").max())
    )


def with_margins(facts: pl.DataFrame, margins: dict[str, float], params: MineParams) -> pl.DataFrame:
    """Add `margin`: the margin of the task, or mine.margin for a task without dev queries."""
    return facts.with_columns(
        margin=pl.col("task").replace_strict(margins, default=params.margin, return_dtype=pl.Float64)
    )


def build_triplets(judged: pl.DataFrame, positives: pl.DataFrame, negatives: int) -> pl.DataFrame:
    """One row per positive with the query's `negatives` hardest kept candidates, hardest first."""
    chosen = (
        hardest(judged, negatives)
        .group_by("query", maintain_order=True)
        .agg(negatives="document", negative_scores="score")
    )
    empty = {"negatives": pl.lit([], pl.List(pl.UInt32)), "negative_scores": pl.lit([], pl.List(pl.Float64))}
    return (
        positives.select("query", positive="document", positive_score="score")
        .join(chosen, on="query", how="left")
        .with_columns(pl.col(name).fill_null(default) for name, default in empty.items())
        .sort("query", "positive")
    )


def _metrics(
    triplets: pl.DataFrame,
    judged: pl.DataFrame,
    suspicious: pl.DataFrame,
    curves: pl.DataFrame,
    margins: dict[str, float],
) -> dict[str, float]:
    counts = judged.drop_nulls("reason").group_by("reason").len().sort("reason")
    negative_counts = triplets["negatives"].list.len()
    return {
        "triplets": float(len(triplets)),
        "negatives_per_positive": float(negative_counts.sum()) / max(1, len(triplets)),
        "positives_without_negatives": float((negative_counts == 0).sum()),
        "kept_share": judged["reason"].null_count() / max(1, len(judged)),
        "suspicious_positives": float(len(suspicious)),
        **{f"rejected/{reason}": float(count) for reason, count in counts.rows()},
        **{f"margin/{task}": margin for task, margin in sorted(margins.items())},
        **{
            f"estimated_false_negative_rate/{task}": rate
            for task, margin, rate in curves.select("task", "margin", "false_negative_rate").sort("task").iter_rows()
            if margin == margins[task] and rate is not None
        },
    }
