"""The interface between a stage and its runner: `StageContext`."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.config import Config

Finisher = Callable[[Any, Path, Path], None]  # (the run's journal, checkout, the stage's finished folder)


def ignore_page(name: str, text: str) -> None:
    """Default `publish`: do nothing."""


def ignore_end(finisher: Finisher) -> None:
    """Default `on_finish`: do nothing, as there is no run."""


@dataclass(frozen=True)
class StageContext:
    """A stage's parameters, the folders it reads and writes, and where its live metrics go.

    outputs: the folder that holds one folder per finished stage; read `outputs / "prepare" / "corpus.parquet"`.
    out: this stage's own folder; becomes `outputs / NAME` when the stage ends well.
    work: scratch that survives a kill, so that a rerun on the same inputs and parameters continues; gone at the end.
    cache: content-addressed files shared by all stages and runs (downloads, vectors).
    log: (metrics, step) -> None, to MLflow while the stage runs; for times and curves, which are no stage output.
    publish: (name, text) -> None, a file for the MLflow run in place of the output `name`: the page with its times.
    on_finish: takes a function that is called with the run's journal once the stage's folder is whole.
    """

    config: Config
    outputs: Path
    out: Path
    work: Path
    cache: Path
    log: Callable[[dict[str, float], int | None], None]
    publish: Callable[[str, str], None] = ignore_page
    on_finish: Callable[[Finisher], None] = ignore_end
