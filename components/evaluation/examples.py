"""Per-example scores, for the paired bootstrap of two models on the same examples.

For every task the mean of its example scores is the task's main score:

    retrieval, reranking    the main metric of each query
    classification          a test row's correctness, averaged over mteb's ten classifiers
    clustering              jackknife values by document (components.evaluation.document_values); where mteb's draws
                            cannot be replayed, the v-measure of each k-means run (replicate = its number)
    summarization           correlation of each text's summaries with the human ratings
    sts, pair               jackknife values (components.statistics.jackknife): correlation and average precision
                            are not means over pairs
    any other kind          no rows, as for fewer than four pairs or texts: the task counts with its score, without a
                            spread

Predictions come from mteb itself (`prediction_folder`), metrics of single queries from the same pytrec_eval.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from mteb.abstasks import (
    AbsTaskClassification,
    AbsTaskClustering,
    AbsTaskMultilabelClassification,
    AbsTaskPairClassification,
    AbsTaskRegression,
    AbsTaskRetrieval,
    AbsTaskSTS,
)
from mteb.abstasks.abstask import AbsTask
from mteb.abstasks.text.summarization import AbsTaskSummarization
from scipy.stats import spearmanr

from components.benchmark.mindsmall import IndexedMindSmall
from components.benchmark.ranking import query_texts
from components.evaluation.document_values import document_values
from components.statistics.jackknife import average_precision_values, spearman_values

SCHEMA = {"example_id": pl.String, "score": pl.Float64, "replicate": pl.Int64}
FEWEST = 4  # pairs whose jackknife values are defined
# Subclasses of AbsTaskClassification whose score is no mean of right rows.
_WITHOUT_ROWS = (AbsTaskMultilabelClassification, AbsTaskRegression)
_WITH_ROWS = (
    AbsTaskClassification,
    AbsTaskClustering,
    AbsTaskPairClassification,
    AbsTaskRetrieval,
    AbsTaskSTS,
    AbsTaskSummarization,
)
WORST_SCHEMA = {
    "query_id": pl.String,
    "query": pl.String,
    "score": pl.Float64,
    "rank": pl.Int64,
    "doc_id": pl.String,
    "document": pl.String,
    "similarity": pl.Float64,
    "relevant": pl.Boolean,
}


def example_scores(task: AbsTask, predictions: Path, scores: dict[str, Any], split: str, subset: str) -> pl.DataFrame:
    """Columns example_id, score, replicate of one evaluated task, in the data set's order; no rows for other kinds.

    Args:
        task: the evaluated task object, with its data loaded.
        predictions: mteb's `prediction_folder`.
        scores: the task's scores as mteb returned them.
    """
    if isinstance(task, IndexedMindSmall):
        return _frame(list(task.impression_scores), list(task.impression_scores.values()))
    if isinstance(task, _WITHOUT_ROWS) or not isinstance(task, _WITH_ROWS):
        return pl.DataFrame(schema=SCHEMA)
    found = _predictions(task, predictions, split, subset)
    loaded: Any = task.dataset
    data = loaded[subset][split] if subset in loaded else loaded[split]
    if isinstance(task, AbsTaskClustering):
        documents = document_values(task, data[task.label_column_name], found, scores["v_measures"])
        return _clustering_runs(scores) if documents is None else _frame(*documents)
    if isinstance(task, AbsTaskRetrieval):
        metric = main_metric(task)
        if metric is None:
            return pl.DataFrame(schema=SCHEMA)
        values = query_scores(task, found, data["relevant_docs"], metric)
        return _frame(list(values), list(values.values()))
    if isinstance(task, AbsTaskClassification):
        right = np.array(found) == np.array(data[task.label_column_name])[None, :]  # [experiments, rows]
        return _frame(None, right.mean(axis=0))
    if isinstance(task, AbsTaskSTS | AbsTaskPairClassification) and len(found["cosine_scores"]) < FEWEST:
        return pl.DataFrame(schema=SCHEMA)
    if isinstance(task, AbsTaskSTS):
        return _frame(None, spearman_values(np.array(found["cosine_scores"]), np.array(data["score"])))
    if isinstance(task, AbsTaskPairClassification):
        labels = np.array(data[0]["labels"] if len(data) == 1 else data[task.label_column_name])
        return _frame(None, average_precision_values(_best_similarity(found, scores), labels))
    pairs = zip(found["human_scores"], found["cosine_scores"], strict=True)
    return _frame(None, np.array([float(spearmanr(human, model).statistic) for human, model in pairs]))


def main_metric(task: AbsTaskRetrieval) -> tuple[str, str] | None:
    """(pytrec_eval's measure, its cut) of the task's main score; None for those that are no mean over queries there."""
    measure, _, cut = task.metadata.main_score.rpartition("_at_")
    name = {"ndcg": "ndcg_cut", "map": "map_cut", "recall": "recall", "precision": "P"}.get(measure)
    return (name, cut) if name else None


def query_scores(
    task: AbsTaskRetrieval, results: dict[str, dict[str, float]], relevant: Any, metric: tuple[str, str]
) -> dict[str, float]:
    """The task's main metric for every query (ndcg_at_10, map_at_1000, ...)."""
    import pytrec_eval

    name, cut = metric
    judge = pytrec_eval.RelevanceEvaluator(relevant, {f"{name}.{cut}"})
    kept = {query: _scored(task, query, found) for query, found in results.items()}
    return {query: float(values[f"{name}_{cut}"]) for query, values in judge.evaluate(kept).items()}


def _scored(task: AbsTaskRetrieval, query: str, found: dict[str, float]) -> dict[str, float]:
    """The documents of a query that are scored: ArguAna's queries are documents too, and do not find themselves."""
    if not task.ignore_identical_ids:
        return found
    return {document: score for document, score in found.items() if document != query}


def rank_as_scored(found: dict[str, float]) -> list[str]:
    """Document ids in pytrec_eval's order: by float32 score, ties by descending id.

    >>> rank_as_scored({"a": 0.5, "b": 0.5, "c": 0.9})
    ['c', 'b', 'a']
    """
    return sorted(found, key=lambda name: (np.float32(found[name]), name), reverse=True)


def worst_queries(
    task: AbsTaskRetrieval, predictions: Path, split: str, subset: str, count: int, depth: int
) -> pl.DataFrame:
    """The `count` queries with the lowest score, each with its `depth` top documents, then its relevant ones.

    The score is nDCG at 10 where the task's own is no mean over queries. A judged document that is not in the corpus
    (five of ArguAna's) has no text.
    """
    results = _predictions(task, predictions, split, subset)
    data = task.dataset[subset][split]
    values = query_scores(task, results, data["relevant_docs"], main_metric(task) or ("ndcg_cut", "10"))
    chosen = sorted(values, key=lambda query: (values[query], query))[:count]
    text_of = dict(zip(data["queries"]["id"], query_texts(data["queries"]), strict=True))
    row_of = {name: row for row, name in enumerate(data["corpus"]["id"])}
    rows = []
    for query in chosen:
        found, relevant = _scored(task, query, results[query]), data["relevant_docs"][query]
        ranked = rank_as_scored(found)
        shown = [*ranked[:depth], *(name for name in relevant if name not in ranked[:depth])]
        place = {name: rank for rank, name in enumerate(ranked, start=1)}
        for name in shown:
            document = data["corpus"][row_of[name]]["text"] if name in row_of else None
            good = relevant.get(name, 0) > 0
            rows.append((query, text_of[query], values[query], place.get(name), name, document, found.get(name), good))
    return pl.DataFrame(rows, schema=WORST_SCHEMA, orient="row")


def _clustering_runs(scores: dict[str, Any]) -> pl.DataFrame:
    levels = scores["v_measures"]
    names = [f"{level}/{run}" for level in levels for run in range(len(levels[level]))]
    values = [value for level in levels for value in levels[level]]
    runs = [run for level in levels for run in range(len(levels[level]))]
    return pl.DataFrame({"example_id": names, "score": values, "replicate": runs}, schema=SCHEMA)


def _predictions(task: AbsTask, folder: Path, split: str, subset: str) -> Any:
    path = folder / task.prediction_file_name
    return json.loads(path.read_text(encoding="utf-8"))[subset][split]


def _best_similarity(found: dict[str, Any], scores: dict[str, Any]) -> np.ndarray:
    """The similarity with the highest average precision of five: it gives max_ap, the main score."""
    options = {
        "cosine_ap": ("cosine_scores", 1),
        "dot_ap": ("dot_scores", 1),
        "similarity_ap": ("similarity_scores", 1),
        "euclidean_ap": ("euclidean_distances", -1),
        "manhattan_ap": ("manhattan_distances", -1),
    }
    best = max(options, key=lambda name: (scores[name], name == "cosine_ap"))
    column, sign = options[best]
    return sign * np.array(found[column])


def _frame(ids: list[str] | None, values: Any) -> pl.DataFrame:
    names = ids if ids is not None else [str(i) for i in range(len(values))]
    return pl.DataFrame(
        {"example_id": names, "score": np.asarray(values, dtype=np.float64), "replicate": [0] * len(names)},
        schema=SCHEMA,
    )
