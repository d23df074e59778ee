"""Parameters of `select_shots`: how many examples a task's prompt gets, and which."""

from typing import Literal

from pydantic import Field

from components.config.engine import EncodingEngineParams
from components.config.types import Count, Params, Positive

Strategy = Literal["random", "diverse", "hard", "class_balanced", "reranker_best"]


class SelectShotsParams(Params):
    """Few-shot examples of each task, chosen by their score on dev queries."""

    max_shots: Count | None = Field(
        default=None,
        description="numbers of shots tried: 0 to this; train.shots.max when empty, and never more than training draws",
    )
    strategies: list[Strategy] = Field(default=["diverse", "class_balanced"], description="orders of examples tried")
    pool: Positive = Field(default=100, description="training pairs of a task that the strategies choose from")
    dev_queries: Positive = Field(default=100, description="dev queries of a task that a prompt is scored on")
    teacher: str = Field(default="dense_teacher", description="in fetch.models; its vectors guide the strategies")
    engine: EncodingEngineParams = EncodingEngineParams()
