"""How far served queries are from those of training, by their vectors: nothing here needs labels.

novelty     a served query is novel if its nearest training query is further away than 95 % of the dev queries' are.
            By construction 5 % of queries like the dev queries are novel; the p-value is the binomial tail of more.
centroid    cosine of the mean served and the mean training vector
agreement   overlap of the best documents of the model and of a teacher, for served against dev queries: where the model
            has not learnt, it leaves its teacher
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import binom

EXPECTED = 0.05  # novel share of queries that are like the dev queries
ALPHA = 0.01


@dataclass(frozen=True)
class Novelty:
    """Of the served queries of one task. nearest: cosine to the nearest training query, for the page's histogram."""

    share: float
    p_value: float
    centroid: float
    nearest: np.ndarray
    reference: np.ndarray
    limit: float

    def significant(self, most: float) -> bool:
        """Whether more than the share `most` is novel, and that is no chance."""
        return self.share > most and self.p_value < ALPHA


def measure_novelty(served: np.ndarray, trained: np.ndarray, dev: np.ndarray) -> Novelty:
    """Compare unit vectors [n, dim] of served queries with those of training; dev queries set the limit."""
    nearest, reference = (np.max(rows @ trained.T, axis=1) for rows in (served, dev))
    limit = float(np.quantile(reference, EXPECTED))
    count = int((nearest < limit).sum())
    means = [rows.mean(axis=0) for rows in (served, trained)]
    centroid = float(means[0] @ means[1] / (np.linalg.norm(means[0]) * np.linalg.norm(means[1])))
    p_value = float(binom.sf(count - 1, len(served), EXPECTED))
    return Novelty(count / len(served), p_value, centroid, nearest, reference, limit)


@dataclass(frozen=True)
class Agreement:
    """Mean overlap with the teacher's best documents, of dev and of served queries; lower, upper: of the difference."""

    dev: float
    served: float
    lower: float
    upper: float

    def dropped(self, most: float) -> bool:
        """Whether it is lower by more than `most`, and that is no chance."""
        return self.dev - self.served > most and self.upper < 0


def measure_agreement(served: np.ndarray, dev: np.ndarray) -> Agreement:
    """Compare overlaps [n] in 0..1 of served and of dev queries; a 99 % interval of the difference of means."""
    means = float(served.mean()), float(dev.mean())
    error = float(np.sqrt(sum(np.var(values, ddof=1) / len(values) for values in (served, dev))))
    difference = means[0] - means[1]
    return Agreement(means[1], means[0], difference - 2.576 * error, difference + 2.576 * error)


def measure_overlap(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Share of the documents [n, k] of each row that are in the other's row too."""
    return np.array([len(set(a) & set(b)) / len(a) for a, b in zip(ours.tolist(), theirs.tolist(), strict=True)])
