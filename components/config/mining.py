"""Parameters of `mine`: when a candidate may be a negative."""

from pydantic import Field

from components.config.types import Count, Fraction, NonNegative, Params, Positive, PositiveFraction


class MineParams(Params):
    """When a candidate may be a negative. All rules that are set hold at once; see components/mining/rules.py."""

    negatives: Positive = Field(default=7, description="negatives kept per query: the pool that training draws from")
    margin: PositiveFraction = Field(
        default=0.95, description="relative: keep what scores below this share of the positive's score"
    )
    false_negative_rate: Fraction | None = Field(
        default=None, description="adaptive: fit the margin per task, on dev, to hold the estimated rate under this"
    )
    absolute_margin: NonNegative | None = Field(
        default=None, description="keep what scores below the positive's score minus this"
    )
    max_score: float | None = Field(default=None, description="keep what scores below this")
    min_score: float | None = Field(default=None, description="too easy: keep what scores at least this")
    first_rank: Positive = Field(default=1, description="rank window: refuse candidates of a better fused rank")
    last_rank: Positive | None = Field(default=None, description="rank window: refuse candidates of a worse rank")
    near_duplicate: PositiveFraction = Field(
        default=0.5, description="shared share of word trigrams from which a text counts as a copy of the positive"
    )
    suspicious: Fraction = Field(
        default=0.5, description="report a positive when more than this share of its query's candidates score above it"
    )
    examples: Count = Field(default=6, description="queries of each task shown in the report")
