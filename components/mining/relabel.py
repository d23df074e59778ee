"""Changes by the judge: candidates that become positives, suspicious positives that lose weight or are removed.

RLHN (arXiv 2505.16967) found that a hard negative which a judge calls relevant teaches more as a positive than it does
left out. Only training queries are touched: dev measures, so its labels stay as the source gave them.
"""

import polars as pl

from components.config import MineParams
from components.mining.evidence import Evidence, judged
from components.mining.facts import TaskTexts
from components.mining.judge import Judge
from components.mining.rules import hardest

_BY_SCORE = ("false_negative", "absolute_margin", "max_score")  # reasons that say "too relevant", not "known"


def judge_hardest(
    candidates: pl.DataFrame, texts: TaskTexts, judge: Judge, evidence: Evidence
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Ask about the hardest candidates of the training queries, at any score.

    Returns:
        the candidates, the relevant ones with reason `relabelled` and the judge's score as what was compared; rows of
        JUDGEMENTS.
    """
    open_ = candidates.with_columns(
        reason=pl.when(pl.col("reason").is_in(_BY_SCORE)).then(None).otherwise(pl.col("reason"))
    )
    trained = (pl.col("split") == "train") & ~pl.col("own")
    asked = hardest(open_.filter(trained), judge.params.top).sort("query", "document")
    rows = judged("relabel", asked, judge.score(texts.text_pairs(asked)), judge, evidence.threshold)
    relevant = rows.filter(pl.col("relevant") == 1).select("query", "document", "judge_score", "judge_threshold")
    marked = candidates.join(relevant, on=["query", "document"], how="left", maintain_order="left")
    found = pl.col("judge_score").is_not_null()
    return marked.with_columns(
        reason=pl.when(found).then(pl.lit("relabelled")).otherwise(pl.col("reason")),
        scale=pl.when(found).then(pl.lit("judge")).otherwise(pl.col("scale")),
        compared=pl.when(found).then(pl.col("judge_score")).otherwise(pl.col("compared")),
        threshold=pl.when(found).then(pl.col("judge_threshold")).otherwise(pl.col("threshold")),
    ).drop("judge_score", "judge_threshold"), rows


def judge_suspicious(
    suspicious: pl.DataFrame, texts: TaskTexts, judge: Judge, evidence: Evidence
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The suspicious positives of training queries with action `confirmed` where the judge finds them relevant.

    Returns: suspicious, rows of JUDGEMENTS.
    """
    asked = suspicious.filter(pl.col("action") != "report")
    rows = judged("suspicious", asked, judge.score(texts.text_pairs(asked)), judge, evidence.threshold)
    right = rows.filter(pl.col("relevant") == 1).select("query", "document", confirmed=pl.lit(True))
    marked = suspicious.join(right, on=["query", "document"], how="left", maintain_order="left")
    action = pl.when(pl.col("confirmed").fill_null(False)).then(pl.lit("confirmed")).otherwise(pl.col("action"))
    return marked.with_columns(action=action).drop("confirmed"), rows


def with_actions(suspicious: pl.DataFrame, texts: TaskTexts, params: MineParams) -> pl.DataFrame:
    """Add `action`: mine.suspicious_action for training queries, `report` for dev queries."""
    split = texts.queries["split"].gather(texts.query_places(suspicious["query"]))
    action = pl.when(pl.Series(split) == "train").then(pl.lit(params.suspicious_action)).otherwise(pl.lit("report"))
    return suspicious.with_columns(action=action)


def weighted_positives(
    positives: pl.DataFrame, candidates: pl.DataFrame, suspicious: pl.DataFrame, weight: float
) -> pl.DataFrame:
    """query, document, score, weight of the positives that are trained: labelled ones and relabelled candidates."""
    new = candidates.filter(pl.col("reason") == "relabelled").select("query", "document", "score")
    actions = suspicious.select("query", "document", "action")
    rows = pl.concat([positives.select("query", "document", "score"), new])
    return (
        rows.join(actions, on=["query", "document"], how="left")
        .filter(pl.col("action").ne_missing("drop"))
        .with_columns(weight=pl.when(pl.col("action") == "down_weight").then(weight).otherwise(1.0))
        .drop("action")
        .sort("query", "document")
    )
