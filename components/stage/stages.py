"""The stages of the pipeline: name -> module with a function `run(context) -> metrics`."""

import importlib
from collections.abc import Callable

from components.stage.context import StageContext

STAGES = {
    "fetch": "components.data.fetch",
    "prepare": "components.data.prepare",
    "retrieve": "components.teacher.retrieve",
    "score": "components.teacher.score",
    "mine": "components.mining.mine",
    "train": "components.training.train",
    "select_shots": "components.fewshot.select_shots",
    "evaluate": "components.evaluation.evaluate",
    "register": "components.registration.register",
}


def stage_function(name: str) -> Callable[[StageContext], dict[str, float]]:
    """The stage itself."""
    run: Callable[[StageContext], dict[str, float]] = importlib.import_module(STAGES[name]).run
    return run
