"""V-measure by document: mteb's draws are replayed, and its values spread as the score does over other documents."""

from pathlib import Path
from typing import Any

import datasets
import mteb
import numpy as np
import pytest
from mteb.models.abs_encoder import AbsEncoder
from sklearn.metrics import v_measure_score

from components.evaluation import document_values as module
from components.evaluation.document_values import document_values
from components.evaluation.examples import example_scores


class LabelledPoints(AbsEncoder):
    """Text "topic.subtopic noise" -> a point near its topic's and subtopic's; the noise is the text's own."""

    mteb_model_meta = mteb.get_model_meta("sentence-transformers/all-MiniLM-L6-v2")

    def __init__(self) -> None:
        pass

    def encode(self, inputs: Any, **_: Any) -> np.ndarray:
        return np.array([self._point(text) for batch in inputs for text in batch["text"]], np.float32)

    @staticmethod
    def _point(text: str) -> np.ndarray:
        label, number = text.split()
        topic, subtopic = label.split(".")
        centre = np.random.default_rng([7, int(topic)]).normal(size=8)
        part = np.random.default_rng([9, int(topic), int(subtopic)]).normal(size=8)
        return centre + 0.5 * part + 0.8 * np.random.default_rng(int(number)).normal(size=8)


def evaluated(name: str, documents: int, levels: bool, folder: Path) -> tuple[Any, dict[str, Any]]:
    """A real clustering task on generated documents, after `mteb.evaluate` with a folder for predictions."""
    random = np.random.default_rng(0)
    names = [f"{random.integers(0, 5)}.{random.integers(0, 3)}" for _ in range(documents)]
    labels: list[Any] = [name.split(".")[: 1 + (row % 7 > 0)] if levels else name for row, name in enumerate(names)]
    texts = [f"{name} {row}" for row, name in enumerate(names)]
    task: Any = mteb.get_task(name)
    task.max_documents_per_cluster = 512
    rows = datasets.Dataset.from_dict({"sentences": texts, "labels": labels})
    task.dataset, task.data_loaded = datasets.DatasetDict({"test": rows}), True
    run = mteb.evaluate(
        LabelledPoints(), task, cache=None, prediction_folder=folder, show_progress_bar=False, co2_tracker=False
    )
    return task, dict(run.task_results[0].scores["test"][0])


@pytest.mark.parametrize(
    ("name", "documents", "levels", "embedded"),
    [
        ("TwentyNewsgroupsClustering.v2", 1500, False, 60),  # 4 % of the documents
        ("ArXivHierarchicalClusteringP2P", 1500, True, 60),  # two levels, the second missing for some documents
    ],
)
def test_one_value_a_document_and_their_mean_is_the_score(
    name: str, documents: int, levels: bool, embedded: int, tmp_path: Path
) -> None:
    task, scores = evaluated(name, documents, levels, tmp_path)
    found = example_scores(task, tmp_path, scores, "test", "default")
    assert found.height == embedded
    assert found["example_id"].n_unique() == embedded
    assert found["score"].mean() == pytest.approx(scores["v_measure"], abs=1e-9)


def test_draws_that_do_not_replay_are_not_used(tmp_path: Path) -> None:
    task, scores = evaluated("TwentyNewsgroupsClustering.v2", 1500, False, tmp_path)
    task.seed += 1
    assert (
        example_scores(task, tmp_path, scores, "test", "default")["score"].to_list() == scores["v_measures"]["Level 0"]
    )


@pytest.mark.slow
def test_spread_is_that_of_drawing_documents_not_runs() -> None:
    """Against brute force: draw documents with all their copies and compute the v-measure again."""
    task: Any = mteb.get_task("TwentyNewsgroupsClustering.v2")
    task.max_fraction_of_documents_to_embed = None
    random, generator = np.random.default_rng(2), module.random.Random(task.seed)
    labels = [int(label) for label in random.integers(0, 4, 150)]
    cluster_of = np.where(random.random(150) < 0.75, labels, random.integers(0, 4, 150))
    runs = [np.array(generator.choices(range(150), k=1500)) for _ in range(3)]
    assignments = {"Level 0": [cluster_of[run].tolist() for run in runs]}
    reported = {"Level 0": [v_measure_score(np.array(labels)[run], cluster_of[run]) for run in runs]}
    found = document_values(task, labels, assignments, reported)
    assert found is not None
    brute = []
    for _ in range(800):
        weight = np.bincount(random.integers(0, 150, 150), minlength=150)
        again = [np.repeat(run, weight[run]) for run in runs]
        brute.append(np.mean([v_measure_score(np.array(labels)[run], cluster_of[run]) for run in again]))
    assert found[1].std() / np.sqrt(150) == pytest.approx(np.std(brute), rel=0.12)
    assert np.std(reported["Level 0"]) / np.sqrt(3) < 0.5 * np.std(brute)
