"""Scores of one model on the dev and test data of `prepare`, and the difference of two sides."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from components.benchmark.adapter import FoundryModel
from components.benchmark.prompts import prompt_table, without_shots
from components.benchmark.tasks import load_benchmark
from components.config import Config
from components.contracts.shots import read_shots
from components.contracts.tasks import read_tasks
from components.data.inputs import read_inputs
from components.evaluation.evaluate import evaluate_model
from components.fewshot.dev import dev_set
from components.model.load_once import ModelSource, load_once

Source = ModelSource
Scores = dict[str, np.ndarray]  # task -> value of each example; their mean is the task's score
RESAMPLES = 10_000


def dev_score(source: Source, prepared: Path) -> float:
    """Mean over the training tasks of the measure of their kind, zero-shot, on their dev queries."""
    inputs, encoder = read_inputs(prepared), load_once(source)
    tasks = [task for name, task in read_tasks(prepared / "tasks.yaml").items() if name in inputs.tasks]
    return float(np.mean([dev_set(inputs, task, 200, 0).values(encoder, ()).mean() for task in tasks]))


def score_test_tasks(
    name: str, source: Source, shots: Path | None, config: Config, outputs: Path, folder: Path
) -> Scores:
    """Values of the examples of every test task; what `folder` has is not computed again."""
    benchmark = load_benchmark(config.evaluate, outputs / "prepare" / "benchmark")
    table = prompt_table(benchmark, read_shots(shots or outputs / "select_shots" / "shots.yaml"), {})
    own = {task: one.prompt if shots else without_shots(one.prompt) for task, one in table.items()}
    model = FoundryModel(name, load_once(source), own, config.prompt.model_dump(mode="json"))
    evaluate_model(name, model, source, benchmark, folder, config.evaluate)
    return {task: _values(pl.read_parquet(folder / task / f"{task}.examples.parquet")) for task in own}


def _values(rows: pl.DataFrame) -> np.ndarray:
    """Replicates averaged; a task of one example keeps its replicates as examples."""
    if rows["example_id"].n_unique() == 1:
        return rows["score"].to_numpy()
    means = rows.group_by("example_id").agg(pl.col("score").mean()).sort("example_id")
    return means["score"].to_numpy()


def resampled_difference(
    ours: Sequence[Scores], theirs: Sequence[Scores], tasks: Sequence[str]
) -> tuple[float, float, float]:
    """(mean difference over tasks, 95 % interval): examples are drawn paired, the seeds of each side on their own.

    Draws of three seeds, or of a task's few examples, spread too little by sqrt((n - 1) / n), and are widened by the
    inverse, as in components/statistics/bootstrap.py. One seed shows no spread between seeds.

    Args:
        ours, theirs: one entry a seed, with the same examples in the same order.
    """
    random = np.random.default_rng(0)
    drawn = [_draw(len(side), random) for side in (ours, theirs)]
    means, total = np.zeros(RESAMPLES), 0.0
    for task in tasks:
        sides = [np.stack([one[task] for one in side]) for side in (ours, theirs)]  # [seeds, examples]
        total += float(sides[0].mean() - sides[1].mean())
        count = sides[0].shape[1]
        chosen = _draw(count, random)
        means += sum(
            sign * (weight * (chosen @ values.T)).sum(1)
            for sign, weight, values in zip((1, -1), drawn, sides, strict=True)
        )
    low, high = np.quantile(means / len(tasks), [0.025, 0.975])
    return total / len(tasks), float(low), float(high)


def _draw(count: int, random: np.random.Generator) -> np.ndarray:
    """Weights of `count` things in each draw with replacement, float64 [resamples, count]; each draw's sum is 1."""
    equal = np.full(count, 1 / count)
    weights = random.multinomial(count, equal, RESAMPLES) / count
    return np.asarray(equal + (weights - equal) * np.sqrt(count / max(count - 1, 1)))
