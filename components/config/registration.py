"""Parameters of `register`: the model's name in MLflow's registry."""

from pydantic import Field

from components.config.types import FileName, Params


class RegisterParams(Params):
    """The trained model as a version in MLflow's registry."""

    name: FileName = Field(default="embedding-foundry", description="name of the registered model")
