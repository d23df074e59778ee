"""Judgements of one task's dev queries, and whether a margin may be fitted to them.

The judge is asked three things, all drawn by the seed: labelled positives and random documents, which say whether it
knows the task; and a sample of the candidates that could become negatives, which says how the share of false
negatives grows with the teacher's score. Labels cannot say that: they count an unlabelled positive as irrelevant.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from components.config import MineParams
from components.config.mining import Scale
from components.contracts.tables import JUDGEMENTS
from components.mining.facts import TaskTexts
from components.mining.judge import Judge
from components.mining.rules import apply_rules, hardest, share_of_positive

LEAD = 0.4  # least difference between the shares of positives and of random documents that the judge finds relevant
_CONTROLS = 100  # labelled positives, and random documents
_FEWEST = 5  # candidates judged relevant, and judged not relevant, to fit a curve
_SIGNIFICANT = 1.96  # standard errors that a rank correlation must be away from none


@dataclass(frozen=True)
class Evidence:
    """Judgements of one task, and what they allow.

    Attributes:
        judgements: rows of JUDGEMENTS.
        threshold: judge's score from which a pair is relevant.
        unfit: why nothing may be concluded from the judge; None if it knows the task.
        unfitted: why no margin may be fitted; None if it may.
        shares, relevant: of the judged candidates, float64 and bool [n]: share of the weakest positive's score, and the
            judgement.
    """

    judgements: pl.DataFrame
    threshold: float
    unfit: str | None = None
    unfitted: str | None = None
    shares: np.ndarray = field(default_factory=lambda: np.empty(0))
    relevant: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=bool))

    @classmethod
    def of(
        cls, judgements: pl.DataFrame, threshold: float, unfit: str | None, shares: np.ndarray, relevant: np.ndarray
    ) -> "Evidence":
        """Evidence with the reason why no margin may be fitted, if there is one."""
        shares = np.clip(shares, *_RANGE)
        return cls(judgements, threshold, unfit, unfit or _unfitted(shares, relevant), shares, relevant)

    def false_negative_rates(self, shares: np.ndarray) -> np.ndarray:
        """float64 [n]: estimated probability that a candidate of this share is relevant (isotonic regression)."""
        from sklearn.isotonic import IsotonicRegression

        curve = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(self.shares, self.relevant)
        return np.asarray(curve.predict(np.clip(shares, *_RANGE)))


_RANGE = (-1.0, 2.0)  # shares beyond are taken for these


def judge_task(
    judge: Judge,
    dev: pl.DataFrame,
    positives: pl.DataFrame,
    texts: TaskTexts,
    params: MineParams,
    scale: Scale,
    seed: int,
) -> Evidence:
    """Ask the judge about a task.

    Args:
        dev: facts of the dev queries' candidates (components/mining/facts.py). positives: of the same queries.
    """
    random = np.random.Generator(np.random.PCG64(seed))
    right = positives.filter(pl.col("relevance") > 0)
    known = _draw(right.unique("query", keep="first", maintain_order=True), _CONTROLS, random)
    others = _random_documents(known, positives, texts, random)
    positive_scores = judge.score(texts.text_pairs(known))
    threshold = judge.threshold(positive_scores)
    random_scores = judge.score(texts.text_pairs(others))
    usable = hardest(apply_rules(dev, params, scale, relative_rule=False), 2 * params.negatives)
    sample = _draw(usable, judge.params.candidates, random)
    scores = judge.score(texts.text_pairs(sample))
    parts = (("positive", known, positive_scores), ("random", others, random_scores), ("margin", sample, scores))
    judgements = collect_judgements(judged(*part, judge, threshold) for part in parts)
    unfit = _unfit(positive_scores >= threshold, random_scores >= threshold)
    shares = sample.select(share_of_positive(pl.col("value"), pl.col("weakest"))).to_series().to_numpy()
    return Evidence.of(judgements, threshold, unfit, shares, scores >= threshold)


def judged(purpose: str, pairs: pl.DataFrame, scores: np.ndarray, judge: Judge, threshold: float) -> pl.DataFrame:
    """Rows of JUDGEMENTS."""
    teacher = pairs["score"] if "score" in pairs.columns else pl.Series([None] * len(pairs), dtype=pl.Float64)
    return pairs.select("query", "document").with_columns(
        purpose=pl.lit(purpose),
        score=teacher,
        judge=pl.lit(judge.params.model),
        judge_score=pl.Series(scores, dtype=pl.Float64),
        judge_threshold=pl.lit(threshold),
        relevant=pl.Series(scores >= threshold, dtype=pl.Int64),
    )


def collect_judgements(parts: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """All rows, in the order of JUDGEMENTS."""
    return pl.concat(parts).sort(JUDGEMENTS.order)


def _draw(rows: pl.DataFrame, number: int, random: np.random.Generator) -> pl.DataFrame:
    """`number` rows, in their order."""
    return rows[np.sort(random.permutation(len(rows))[:number])]


def _random_documents(
    known: pl.DataFrame, positives: pl.DataFrame, texts: TaskTexts, random: np.random.Generator
) -> pl.DataFrame:
    """query, document: for each query one document of the task that is no positive and has another label."""
    drawn = texts.corpus["row"].gather(random.integers(0, len(texts.corpus), len(known)))
    pairs = known.select("query").with_columns(document=drawn)
    asked = texts.queries["label"].gather(texts.query_places(pairs["query"]))
    found = texts.corpus["label"].gather(texts.document_places(pairs["document"]))
    pairs = pairs.filter(~(asked == found).fill_null(False))
    return pairs.join(positives, on=["query", "document"], how="anti")


def _unfit(positives: np.ndarray, others: np.ndarray) -> str | None:
    """Why the judge's word does not count: it hardly tells labelled positives from random documents."""
    if not len(positives) or not len(others):
        return "there are no dev queries to test the judge on"
    found, mistaken = float(positives.mean()), float(others.mean())
    if found - mistaken >= LEAD:
        return None
    return (
        f"the judge finds {100 * found:.0f} % of {len(positives)} labelled positives relevant, and "
        f"{100 * mistaken:.0f} % of {len(others)} random documents; they must be {100 * LEAD:.0f} points apart"
    )


def _unfitted(shares: np.ndarray, relevant: np.ndarray) -> str | None:
    """Why no curve of false negatives over scores can be fitted: too few, flat or inverted."""
    from scipy.stats import rankdata

    yes, no = int(relevant.sum()), int((~relevant).sum())
    if min(yes, no) < _FEWEST:
        return f"its calibration is flat: it finds {yes} of {yes + no} candidates relevant"
    above = (rankdata(shares)[relevant].sum() - yes * (yes + 1) / 2) / (yes * no)
    error = float(np.sqrt((yes + no + 1) / (12 * yes * no)))
    if above - 0.5 >= _SIGNIFICANT * error:
        return None
    shape = "inverted" if 0.5 - above >= _SIGNIFICANT * error else "flat"
    return (
        f"its calibration is {shape}: the teacher scores a candidate that it finds relevant ({yes} of {yes + no}) "
        f"above another one in {100 * above:.0f} % of cases"
    )
