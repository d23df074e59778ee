"""Parameters of `evaluate`: the benchmark, and what embeds and scores it."""

from pydantic import Field

from components.config.engine import EncodingEngineParams
from components.config.types import Count, Name, Params


class ShotParams(Params):
    """One few-shot example."""

    query: Name = Field(description="a text of the task, from its train split")
    response: Name = Field(description="what answers it: a document, a label, a similar text")


class EvaluateParams(Params):
    """Base student, trained student and teacher on one benchmark."""

    benchmark: str = Field(default="starter", description="starter, or the name of an mteb benchmark")
    teacher: str = Field(default="dense_teacher", description="in fetch.models; evaluated beside the student")
    mirror: str | None = Field(
        default=None, description="folder of local copies of mteb's data sets; the hub is asked when empty"
    )
    shots: dict[Name, list[ShotParams]] = Field(
        default={},
        description="your own few-shot examples, by benchmark task; for tasks that no training task serves, which are "
        "zero-shot without",
    )
    scoring_processes: Count = Field(
        default=0, description="processes of this machine that score tasks while the next are embedded"
    )
    engine: EncodingEngineParams = EncodingEngineParams()
