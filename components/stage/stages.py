"""The stages of the pipeline: name -> module with a function `run(context) -> metrics`."""

import gc
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
    """The stage itself.

    The garbage collector rests while mteb and torch are imported and then leaves alone what they made, millions of
    objects that stay: a tenth to a fifth of the CPU seconds of the import, and most of every collection after it.
    """
    gc.disable()
    try:
        run: Callable[[StageContext], dict[str, float]] = importlib.import_module(STAGES[name]).run
    finally:
        gc.freeze()
        gc.enable()
    return run
