"""Evaluate one model on one task with `mteb.evaluate`, and write the result files.

    <folder>/<task>.json               mteb's own result, its time and date set to constants: same run, same bytes
    <folder>/<task>.examples.parquet   scores of single examples
    <folder>/<task>.worst.parquet      retrieval only: the worst queries and their top documents
    <folder>/<task>.summary.json       category, metric, score

A task's files appear together (a folder is renamed into place), so a killed run resumes at the next task.
"""

import json
import logging
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mteb
import polars as pl
from mteb.abstasks import AbsTaskRetrieval
from mteb.abstasks.abstask import AbsTask
from sklearn.exceptions import UndefinedMetricWarning

from components.benchmark.adapter import FoundryModel
from components.benchmark.mindsmall import IndexedMindSmall
from components.evaluation.examples import example_scores, worst_queries
from components.statistics.paired import MEAN_TOLERANCE

log = logging.getLogger(__name__)
MakeTask = Callable[[], AbsTask]
WORST_QUERIES, WORST_DEPTH = 10, 3


def evaluate_task(model: FoundryModel, make: MakeTask, folder: Path) -> None:
    """Run one task and write its files under `folder`/<task>; no-op if they exist.

    `make` returns a new task object: mteb's clustering tasks draw from a generator that every evaluation advances, so
    a reused object would score a second model on other documents.
    """
    task = make()
    name = task.metadata.name
    if (folder / name).is_dir():
        return
    scratch = folder / f"{name}.part"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    predictions = scratch / "predictions"
    task.load_data()
    with _ignore_undefined_metric_warnings():
        found = mteb.evaluate(
            model,
            task,
            cache=None,
            co2_tracker=False,
            prediction_folder=predictions,
            encode_kwargs={"batch_size": 512, "show_progress_bar": False},  # of mteb's data loader, not of our encoder
            show_progress_bar=False,
        )
    result = found.task_results[0].model_copy(update={"evaluation_time": 0.0, "date": None, "evaluation_phases": None})
    result.to_disk(scratch / f"{name}.json")
    _write_examples(task, predictions, result, scratch)
    shutil.rmtree(predictions, ignore_errors=True)
    summary = {
        "category": task.metadata.type,
        "metric": task.metadata.main_score,
        "score": result.get_score(),
    }
    (scratch / f"{name}.summary.json").write_text(json.dumps(summary), encoding="utf-8")
    scratch.replace(folder / name)


@contextmanager
def _ignore_undefined_metric_warnings() -> Iterator[None]:
    """Silence scikit-learn's UndefinedMetricWarning.

    mteb computes the precision of every label in each of ten experiments on 8 to 32 texts per label. Some labels are
    never predicted; mteb reports 0 for them. No main score is a precision.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UndefinedMetricWarning)
        yield


def join_examples(parts: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """The examples of a task's splits and subsets, named by them where there are several.

    The task's score is the mean of its parts' scores. Each part's values are scaled by (examples / parts) / (examples
    of the part), so that the mean over all examples is that score too. No rows when a part has none.
    """
    frames = list(parts.values())
    if len(frames) == 1 or any(frame.is_empty() for frame in frames):
        return frames[0] if len(frames) == 1 else frames[0].clear()
    sizes = [frame["example_id"].n_unique() for frame in frames]
    scaled = [
        frame.with_columns(
            example_id=pl.lit(f"{part}/") + pl.col("example_id"),
            score=pl.col("score") * (sum(sizes) / len(sizes) / size),
        )
        for (part, frame), size in zip(parts.items(), sizes, strict=True)
    ]
    return pl.concat(scaled)


def _write_examples(task: AbsTask, predictions: Path, result: Any, folder: Path) -> None:
    name = task.metadata.name
    parts = {
        f"{split}/{scores['hf_subset']}": example_scores(task, predictions, scores, split, scores["hf_subset"])
        for split, entries in result.scores.items()
        for scores in entries
    }
    examples = join_examples(parts)
    if not examples.is_empty() and abs(examples["score"].mean() - result.get_score()) > MEAN_TOLERANCE:
        log.warning("%s: its examples do not average to its score; it counts with its score, without a spread", name)
        examples = examples.clear()
    examples.write_parquet(folder / f"{name}.examples.parquet")
    if isinstance(task, AbsTaskRetrieval) and not isinstance(task, IndexedMindSmall):
        first = next(iter(result.scores))
        subset = result.scores[first][0]["hf_subset"]
        worst = worst_queries(task, predictions, first, subset, WORST_QUERIES, WORST_DEPTH)
        worst.write_parquet(folder / f"{name}.worst.parquet")
