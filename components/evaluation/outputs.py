"""Loss of score by int8, binary and shorter vectors: the trained model on the same tasks, from its stored vectors.

outputs/scores.parquet, examples.parquet     as those of the models, one "model" an output
table.json: outputs                          bytes of a vector, mean score, and the difference to float32

No text is embedded: the model is read from the store without its weights.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from components.base.progress import progress
from components.benchmark.adapter import EvaluatedEncoder, FoundryModel
from components.benchmark.tasks import Benchmark
from components.contracts.shots import Shot
from components.evaluation.collect import task_frames, write_tables
from components.evaluation.planner import TaskPlan
from components.evaluation.scoring import Scorer, scoring_pool
from components.statistics.bootstrap import RESAMPLES, interval, paired_bootstrap
from components.statistics.outputs import comparable, convert
from components.statistics.paired import Evaluation, differences, read_evaluation

FULL = "float32"


class Converted:
    """An encoder whose vectors were stored in a smaller form and read again."""

    def __init__(self, encoder: EvaluatedEncoder, output: str) -> None:
        self.encoder, self.output = encoder, output
        self.identity, self.dimension, self.tokens = f"{encoder.identity}/{output}", encoder.dimension, 0

    @property
    def prompt(self) -> Any:
        return self.encoder.prompt

    def encode_queries(self, texts: Sequence[str], instruction: str, shots: Sequence[Shot] = ()) -> np.ndarray:
        """float32 [n, dim], L2-normalised."""
        return comparable(self.encoder.encode_queries(texts, instruction, shots), self.output)

    def encode_documents(self, texts: Sequence[str]) -> np.ndarray:
        """float32 [n, dim], L2-normalised."""
        return comparable(self.encoder.encode_documents(texts), self.output)


def score_outputs(
    outputs: Sequence[str],
    model: FoundryModel,
    reader: EvaluatedEncoder,
    benchmark: Benchmark,
    work: Path,
    processes: int,
) -> dict[str, Path]:
    """Score every task once per output but float32; returns the folder of each.

    Args:
        model: evaluated already, so that the store has all its vectors.
        reader: its encoder without weights.
        processes: as `evaluate.scoring_processes`.
    """
    folders = {}
    for output in (one for one in outputs if one != FULL):
        converted = Converted(reader, output)
        own = FoundryModel(f"trained-{output}", converted, model.prompts, model.settings)
        folders[output] = work / f"trained-{output}" / own.revision
        scorer = Scorer(f"trained-{output}", converted, own.prompts, own.settings, folders[output])
        with scoring_pool(own, scorer, processes) as score:
            for name, make in progress(list(benchmark.makers.items()), f"trained: score {output}", unit="task"):
                score(TaskPlan(name, make, {}, {}))
    return folders


def collect_outputs(folders: Mapping[str, Path], out: Path) -> None:
    """Write the scores and examples of every output below `out`/outputs."""
    tables: dict[str, list[pl.DataFrame]] = {"scores": [], "examples": []}
    for output, folder in folders.items():
        for task in sorted(folder.iterdir()):
            for table, frame in task_frames(output, task.name, task):
                if table in tables:
                    tables[table].append(frame)
    (out / "outputs").mkdir()
    write_tables(tables, out / "outputs")


def outputs_table(outputs: Sequence[str], out: Path, dimension: int, seed: int) -> list[dict[str, Any]]:
    """One row an output: bytes of a vector, mean score, and the mean difference to float32 with its interval."""
    full = read_evaluation(out, "trained")
    rows = []
    for output in outputs:
        size = convert(np.zeros((1, dimension), dtype=np.float32), output).nbytes
        row: dict[str, Any] = {"output": output, "bytes": size}
        if output == FULL:
            rows.append({**row, "mean": round(full.mean_task, 6)})
            continue
        own = read_evaluation(out / "outputs", output)
        resampled = paired_bootstrap(differences(*_on_the_same_examples(own, full)), RESAMPLES, seed)
        low, high = interval(resampled.mean)
        by_task = {task: own.scores[task] - full.scores[task] for task in own.tasks}
        worst = min(by_task, key=lambda task: (by_task[task], task))
        cost = {"mean": own.mean_task, "difference": own.mean_task - full.mean_task, "low": low, "high": high}
        row |= {key: round(value, 6) for key, value in cost.items()}
        rows.append({**row, "worst_task": worst, "worst_difference": round(by_task[worst], 6)})
    return rows


def _on_the_same_examples(own: Evaluation, full: Evaluation) -> tuple[Evaluation, Evaluation]:
    """Both, a task counted without a spread where their examples differ.

    mteb leaves out a text whose summaries all have one similarity, as few bits give more often.
    """
    differ = [task for task in own.tasks if own.ids[task] != full.ids[task]]

    def as_scores(one: Evaluation) -> Evaluation:
        values = {task: np.array([one.scores[task]]) for task in differ}
        return replace(one, ids=one.ids | {task: [""] for task in differ}, values=one.values | values)

    return as_scores(own), as_scores(full)
