"""V-measure by document: jackknife values of each clustered document's contribution to a task's score.

mteb scores a clustering as the mean v-measure over runs of k-means, each on a large sample drawn with replacement
from the same few documents. The runs agree with each other far more than two sets of documents would, so resampling
runs says nothing about other documents. Here every run's jackknife values, one per drawn position, are summed over the
copies of a document: one value per document, averaging to the score, resampled like any other examples. Clusterings
are held fixed, so how another sample would change k-means itself is not included.

mteb stores the assignments but not the draws. The draws are replayed from the task's seed, and used only if they
reproduce every reported v-measure.
"""

import random
from collections.abc import Mapping, Sequence

import numpy as np
from mteb.abstasks import AbsTaskClustering
from numpy.typing import NDArray

from components.statistics.jackknife import v_measure_values

_SAME = 1e-6


def document_values(
    task: AbsTaskClustering,
    labels: Sequence[object],
    assignments: Mapping[str, Sequence[Sequence[int]]],
    reported: Mapping[str, Sequence[float]],
) -> tuple[list[str], NDArray[np.float64]] | None:
    """Ids (rows of the data set) and values of the embedded documents; None if the replay does not match the scores.

    Args:
        task: the evaluated task; its seed and sizes are read.
        labels: the split's label column: for each document one label, or one per level.
        assignments: clusters by level and run, mteb's predictions.
        reported: `v_measures` by level and run.
    """
    generator = random.Random(task.seed)
    rows = _embedded_rows(task, len(labels), generator)
    by_level = [_levels(labels[row]) for row in rows]
    total, runs = np.zeros(len(rows)), 0
    score = float(np.mean([value for level in reported for value in reported[level]]))
    for number, level in enumerate(reported):
        # as in mteb: among text labels the -1 of a missing level becomes a label, among numbers it is dropped
        names = np.array([found[number] if number < len(found) else -1 for found in by_level])
        valid = np.array([row for row, name in enumerate(names) if name != -1])
        _, codes = np.unique(names[valid], return_inverse=True)
        for clusters, value in zip(assignments[level], reported[level], strict=True):
            drawn = np.array(generator.choices(range(len(valid)), k=len(clusters)))
            values = v_measure_values(codes[drawn], np.asarray(clusters))
            if abs(values.mean() - value) > _SAME:
                return None
            share = np.bincount(drawn, weights=values - values.mean(), minlength=len(valid)) / len(clusters)
            total[valid] += share * len(rows)
            runs += 1
    return [str(row) for row in rows], score + total / runs


def _levels(label: object) -> list[object]:
    return label if isinstance(label, list) else [label]


def _embedded_rows(task: AbsTaskClustering, count: int, generator: random.Random) -> list[int]:
    """Rows that mteb embeds, in its order (`AbsTaskClustering._evaluate_subset`)."""
    if task.max_fraction_of_documents_to_embed is not None:
        wanted = int(task.max_fraction_of_documents_to_embed * count)
    elif task.max_document_to_embed is not None:
        wanted = task.max_document_to_embed
    else:
        return list(range(count))
    return generator.sample(range(count), k=min(count, wanted))
