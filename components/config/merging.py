"""Parameters of `train.merge`: which adapters become one at the end of training, and how."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from components.config.types import Params, PositiveFraction, refuse_settings_without_effect

_NEEDED = {"number": ("checkpoints", "bags"), "fraction": ("bags",), "weight": ("init_adapter",)}


class MergeParams(Params):
    """Several adapters of one student become one; components/training/merge.py has the formulas."""

    of: Literal["checkpoints", "bags", "init_adapter"] = Field(
        description="checkpoints: the last ones of this run, its end included; bags: adapters trained one after the "
        "other, from the same start, each on a sample of the examples; init_adapter: this run's and the one that it "
        "went on from"
    )
    method: Literal["average", "slerp"] = Field(
        default="average", description="of the updates of each projection; slerp: spherical, which keeps their length"
    )
    number: Annotated[int, Field(ge=2)] | None = Field(
        default=None, description="of: checkpoints, bags: how many are merged; bags share train.steps"
    )
    fraction: PositiveFraction | None = Field(
        default=None, description="of: bags: share of each task's examples that a bag draws from"
    )
    weight: PositiveFraction | None = Field(default=None, description="of: init_adapter: share of this run's adapter")

    @model_validator(mode="after")
    def _settings_belong_to_the_adapters(self) -> "MergeParams":
        missing = [name for name, kinds in _NEEDED.items() if self.of in kinds and getattr(self, name) is None]
        if missing:
            raise ValueError(f"of: {self.of} needs {' and '.join(missing)}")
        refuse_settings_without_effect(self, _NEEDED, self.of)
        return self
