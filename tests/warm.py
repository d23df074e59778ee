"""Child processes that start in a blink: forked from a server that has imported the heavy packages once.

A process that imports torch, transformers, peft and mteb works six to ten seconds before it does anything, and a test
that kills a process, or compares two, is not about that. It starts its processes here. Tests of a command line start
the command.
"""

import multiprocessing
from collections.abc import Callable
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext, ForkServerProcess
from typing import Any

HEAVY = ["peft", "sentence_transformers", "polars", "components.training.train", "components.evaluation.evaluate"]


def warm_context() -> ForkServerContext:
    """A start method for `multiprocessing` whose server runs, with everything of `HEAVY` imported."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(HEAVY)
    forkserver.ensure_running()
    return context


def start_warm(target: Callable[..., object], *arguments: Any) -> ForkServerProcess:
    """Call `target` of a module of `tests` or `components` in a process of its own."""
    process = warm_context().Process(target=target, args=arguments, daemon=True)
    process.start()
    return process
