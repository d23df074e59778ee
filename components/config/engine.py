"""Parameters of `engine`, in every stage that works in shards: where the shards run."""

from typing import Literal

from pydantic import Field, model_validator

from components.config.types import Count, Params, Positive, differs_from_default

_DASK_ONLY = ("address", "connect_seconds", "retries")


class EngineParams(Params):
    """Where the shards of a stage run."""

    kind: Literal["local", "dask"] = Field(default="local", description="local: this machine; dask: a Dask cluster")
    workers: Count | Literal["auto"] = Field(
        default="auto",
        description="local: worker processes, each on one GPU or a share of the cores; 0: the stage's own process; "
        "auto: one a GPU where there are several, else 0",
    )
    shard: Positive = Field(default=512, description="texts in one shard: the unit of resuming")
    address: str | None = Field(default=None, description="dask: of the scheduler, such as tcp://host:8786")
    connect_seconds: Positive = Field(default=30, description="dask: how long to wait for the scheduler and a worker")
    retries: Count = Field(default=2, description="dask: times a failed shard is tried again")

    @model_validator(mode="after")
    def _settings_belong_to_the_kind(self) -> "EngineParams":
        if self.kind == "dask" and self.address is None:
            raise ValueError("kind: dask needs address, such as tcp://host:8786")
        for name in _DASK_ONLY if self.kind == "local" else ("workers",):
            if differs_from_default(self, name):
                raise ValueError(f"{name} has no effect on kind: {self.kind}; remove it or change kind")
        return self


class EncodingEngineParams(EngineParams):
    """Where the shards of a stage run that embeds with the student."""

    shard: Positive = Field(default=1024, description="texts in one shard: the unit of resuming")
