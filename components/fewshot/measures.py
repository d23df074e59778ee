"""How good a prompt is on a task's dev data, by the measure that the kind of task is evaluated with.

    sts                                  Spearman's correlation of cosines and grades over the dev pairs
    classification                       accuracy of a logistic regression that is fitted on training texts
    clustering                           v-measure of k-means, the mean of RUNS starts
    the others, and these without grades or labels   nDCG@10

Each gives a value per dev example (query, pair or text) whose mean is the measure, so that two prompts can be compared
example by example. Spearman and v-measure are no means: their values are jackknife values (statistics/jackknife.py).
"""

import warnings
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from components.statistics.jackknife import spearman_values, v_measure_values
from components.statistics.ndcg import ndcg_at_10

RUNS = 30  # starts of k-means; the values do not hold the luck of a start, so it has to be small beside them


class Measure(Protocol):
    """Values of dev examples from the vectors of the task's prompted texts and of its documents."""

    @property
    def name(self) -> str: ...

    @property
    def size(self) -> int:
        """Dev examples."""
        ...

    def values(self, prompted: np.ndarray, documents: np.ndarray) -> np.ndarray:
        """float64 [size]; prompted, documents: float32 [n, dim], L2-normalised."""
        ...


@dataclass(frozen=True)
class Ranking:
    """nDCG@10 of each query over the documents; `relevant`: bool [queries, documents]."""

    relevant: np.ndarray
    name: str = "ndcg_at_10"

    @property
    def size(self) -> int:
        return len(self.relevant)

    def values(self, prompted: np.ndarray, documents: np.ndarray) -> np.ndarray:
        return ndcg_at_10(prompted @ documents.T, self.relevant)


@dataclass(frozen=True)
class GradedPairs:
    """Spearman's correlation over pairs: `query[i]`, `document[i]` are places of the texts of pair i."""

    query: np.ndarray
    document: np.ndarray
    grades: np.ndarray
    name: str = "spearman"

    @property
    def size(self) -> int:
        return len(self.grades)

    def values(self, prompted: np.ndarray, documents: np.ndarray) -> np.ndarray:
        cosines = np.einsum("pd,pd->p", prompted[self.query], documents[self.document])
        if len(np.unique(cosines)) < 3:  # a model with one vector for all texts has no correlation
            return np.zeros(self.size)
        return spearman_values(cosines, self.grades)


@dataclass(frozen=True)
class Probe:
    """Accuracy: 1 or 0 a dev text. The first texts, of the labels `fitted`, are fitted on; the rest have `labels`."""

    fitted: np.ndarray
    labels: np.ndarray
    name: str = "accuracy"

    @property
    def size(self) -> int:
        return len(self.labels)

    def values(self, prompted: np.ndarray, documents: np.ndarray) -> np.ndarray:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression

        known = len(self.fitted)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # 100 iterations, as mteb's classifier
            fitted = LogisticRegression(max_iter=100).fit(prompted[:known], self.fitted)
        return np.asarray(fitted.predict(prompted[known:]) == self.labels, np.float64)


@dataclass(frozen=True)
class Clusters:
    """V-measure of the texts' clusters against `labels` (numbers)."""

    labels: np.ndarray
    name: str = "v_measure"

    @property
    def size(self) -> int:
        return len(self.labels)

    def values(self, prompted: np.ndarray, documents: np.ndarray) -> np.ndarray:
        from sklearn.cluster import KMeans

        number = len(np.unique(self.labels))
        found = [KMeans(number, n_init=1, random_state=run).fit_predict(prompted) for run in range(RUNS)]
        return np.mean([v_measure_values(self.labels, clusters) for clusters in found], axis=0)
