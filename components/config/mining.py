"""Parameters of `mine`: when a candidate may be a negative, who judges false negatives, and what becomes of them."""

from typing import Literal

from pydantic import Field, model_validator

from components.config.pair_model import PairModelParams
from components.config.types import Count, Fraction, NonNegative, Params, Positive, PositiveFraction

LOGIT_RERANKERS = ("cross_encoder", "llm")  # their raw score is a logit: it has no zero point that means "irrelevant"
Scale = Literal["probability", "raw", "relevance"]


class JudgeParams(PairModelParams):
    """A model that neither found nor scored the candidates: it says which of them are false negatives."""

    threshold: PositiveFraction = Field(
        default=0.5,
        description="relevant from this probability on; dense, sparse: from the median labelled positive on",
    )
    candidates: Positive = Field(default=300, description="candidates of each task's dev queries judged for the margin")
    false_negative_rate: Fraction | None = Field(
        default=0.05,
        description="adaptive: fit each task's margin to hold the judged rate under this; null: mine.margin everywhere",
    )
    top: Positive = Field(
        default=3, description="false_negatives: relabel: candidates of a training query judged, hardest first"
    )


class MineParams(Params):
    """When a candidate may be a negative. All rules that are set hold at once; see components/mining/rules.py."""

    negatives: Positive = Field(default=7, description="negatives kept per query: the pool that training draws from")
    margin_on: Literal["auto", "probability", "raw", "relevance"] = Field(
        default="auto",
        description="scale of margin, absolute_margin, max_score and min_score: probability (sigmoid of a logit), raw, "
        "or relevance (calibrated); auto: probability for cross_encoder and llm, raw for maxsim",
    )
    margin: PositiveFraction = Field(
        default=0.95, description="relative: keep what scores below this share of the positive's score"
    )
    absolute_margin: NonNegative | None = Field(
        default=None, description="keep what scores below the positive's score minus this"
    )
    max_score: float | None = Field(default=None, description="keep what scores below this")
    min_score: float | None = Field(default=None, description="too easy: keep what scores at least this")
    first_rank: Positive = Field(default=1, description="rank window: refuse candidates of a better fused rank")
    last_rank: Positive | None = Field(default=None, description="rank window: refuse candidates of a worse rank")
    own_negatives: Literal["trust", "check", "ignore"] = Field(
        default="trust",
        description="what the source judges irrelevant. trust: first among negatives, unless it copies the query or "
        "a positive; check: first where the rules allow it; ignore: a candidate like others",
    )
    near_duplicate: PositiveFraction = Field(
        default=0.5,
        description="shared share of word trigrams from which a text counts as a copy of the positive; 1 keeps the "
        "variations of a template (a product catalogue) as negatives",
    )
    same_words: PositiveFraction = Field(
        default=0.75, description="the same of words of four letters or more, in any order"
    )
    judge: JudgeParams | None = Field(
        default=None, description="judges a sample of candidates: fits the margin per task, and relabels; null: none"
    )
    false_negatives: Literal["drop", "relabel", "keep"] = Field(
        default="drop",
        description="drop: refuse what is within a margin; relabel: also, what the judge finds relevant becomes a "
        "positive; keep: no margin",
    )
    suspicious: Fraction = Field(
        default=0.5,
        description="a positive is suspicious when more than this share of its query's candidates score above it",
    )
    suspicious_action: Literal["report", "drop", "down_weight"] = Field(
        default="report", description="what becomes of suspicious positives in training, unless the judge confirms them"
    )
    suspicious_weight: PositiveFraction = Field(
        default=0.5, description="down_weight: weight of a suspicious positive's loss"
    )
    examples: Count = Field(default=6, description="queries of each task shown in the report")

    def scale(self, reranker: str) -> Scale:
        """The scale of margins and limits, given `score.reranker`."""
        if self.margin_on == "auto":
            return "probability" if reranker in LOGIT_RERANKERS else "raw"
        return self.margin_on

    @model_validator(mode="after")
    def _rules_leave_something(self) -> "MineParams":
        if self.min_score is not None and self.max_score is not None and self.min_score >= self.max_score:
            raise ValueError(
                f"min_score: {self.min_score:g} and max_score: {self.max_score:g} exclude every candidate; "
                "lower min_score"
            )
        if self.last_rank is not None and self.first_rank > self.last_rank:
            raise ValueError(
                f"first_rank: {self.first_rank} and last_rank: {self.last_rank} exclude every candidate; "
                "lower first_rank"
            )
        if self.false_negatives == "relabel" and self.judge is None:
            raise ValueError("false_negatives: relabel needs a judge; set mine.judge")
        if self.false_negatives == "keep" and self.absolute_margin is not None:
            raise ValueError("false_negatives: keep switches margins off; remove absolute_margin")
        return self
