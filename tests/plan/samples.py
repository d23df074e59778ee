"""The full-size recipe and its student's shape."""

from components.config import load_config
from components.plan.shapes import KNOWN
from tests.samples import ROOT

MISTRAL = KNOWN["mistralai/Mistral-7B-v0.1"]


def full(**changes):
    config = load_config(ROOT / "recipes" / "mistral-7b.yaml")
    return config.model_copy(update={"train": config.train.model_copy(update=changes)}) if changes else config
