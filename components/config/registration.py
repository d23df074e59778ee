"""Parameters of `register`: the model's name in MLflow's registry."""

from pydantic import Field

from components.config.types import Params


class RegisterParams(Params):
    """The trained model as a version in MLflow's registry."""

    name: str = Field(default="embedding-foundry", description="name of the registered model")
