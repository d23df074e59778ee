"""Parameters of `evaluate`: the benchmark, and what embeds and scores it."""

from pydantic import Field

from components.config.types import Count, Params, Positive


class EvaluateParams(Params):
    """Base student, trained student and teacher on one benchmark."""

    benchmark: str = Field(default="starter", description="starter, or the name of an mteb benchmark")
    teacher: str = Field(default="dense_teacher", description="in fetch.models; evaluated beside the student")
    mirror: str | None = Field(
        default=None, description="folder of local copies of mteb's data sets; the hub is asked when empty"
    )
    shard: Positive = Field(default=1024, description="texts embedded and stored in one piece: the unit of resuming")
    workers: Count = Field(default=0, description="processes that embed, one a GPU; 0 = the stage's own")
    address: str | None = Field(default=None, description="of a Dask scheduler whose workers embed instead")
    connect_seconds: Positive = Field(default=30, description="how long to wait for the Dask scheduler")
    scoring_processes: Count = Field(default=0, description="processes that score tasks while the next are embedded")
