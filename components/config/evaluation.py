"""Parameters of `evaluate`: the benchmark, and what embeds and scores it."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from components.config.engine import EncodingEngineParams
from components.config.types import Count, Name, Params

Output = Annotated[str, Field(pattern=r"^(float32|int8|binary|dim[1-9][0-9]*)$")]


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
    outputs: list[Output] = Field(
        default=["float32"],
        description="forms of the trained model's vectors to score: float32 (always), int8, binary, dim256 (the first "
        "256 dimensions, or another number); none embeds a text again",
    )
    scoring_processes: Count = Field(
        default=0, description="processes of this machine that score tasks while the next are embedded"
    )
    engine: EncodingEngineParams = EncodingEngineParams()

    @model_validator(mode="after")
    def _outputs_once(self) -> Self:
        twice = next((one for one in self.outputs if self.outputs.count(one) > 1), None)
        if twice or not self.outputs or self.outputs[0] != "float32":
            raise ValueError(f"outputs: {twice} is named twice" if twice else "outputs: float32 must come first")
        return self
