"""Per-example values of metrics that are no mean of examples: their jackknife values.

Spearman, average precision and v-measure are functions of the whole sample. Leaving example i out gives theta_(-i);
    value_i = theta + (n - 1) * (mean_j theta_(-j) - theta_(-i))
averages to theta exactly, and resampling the values is the first-order (infinitesimal jackknife) approximation of
resampling examples and computing the metric anew (Efron & Tibshirani 1993, section 20.3). It ignores the metric's
curvature, an error of order 1/n; tests compare its standard deviation with the brute-force bootstrap's. The gain: a
resample of any metric costs one mean, so 10,000 resamples of 41 tasks take seconds.

All leave-one-out metrics are computed exactly and together, not by n calls.
"""

import numpy as np
from numpy.typing import NDArray

from components.base.errors import UserError

Floats = NDArray[np.float64]
_NONE = 1e-12  # an entropy below this is rounding: one label, or one cluster


def jackknife_values(metric: float, left_out: Floats) -> Floats:
    """Values that average to `metric`, from the metric without each example; float64 [n]."""
    return metric + (len(left_out) - 1) * (left_out.mean() - left_out)


def spearman_values(predicted: NDArray[np.floating], gold: NDArray[np.floating]) -> Floats:
    """Jackknife values of Spearman's correlation, ties sharing their average rank; float64 [n].

    Raises:
        UserError: fewer than 4 pairs, a NaN, or one side is constant.
    """
    x, y = np.asarray(predicted, np.float64), np.asarray(gold, np.float64)
    _check_finite(x, y, least=4)
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        raise UserError("spearman: every value of one side is the same; the correlation does not exist")
    if len(np.unique(x)) < len(np.unique(y)):
        x, y = y, x  # symmetric in the two; the work grows with the distinct values of the second
    by_x, by_y = _Ranked(x), _Ranked(y)
    # Without i the rank of j falls by above[i, j] = 1 if j lies above i, 1/2 at a tie (i itself: 1/2), so
    # sum (rx - ax)(ry - ay) = sum rx ry - sum ax ry - sum ay rx + sum ax ay; i's own term leaves the sum.
    xy = by_x.ranks @ by_y.ranks - by_x.above(by_y.ranks) - by_y.above(by_x.ranks) + _above_both(by_x, by_y)
    own_x, own_y = by_x.ranks - 0.5, by_y.ranks - 0.5
    count = len(x) - 1
    centre = count * ((count + 1) / 2) ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = np.sqrt((by_x.squares() - centre) * (by_y.squares() - centre))
        left_out = (xy - own_x * own_y - centre) / spread
    if not np.isfinite(left_out).all():
        raise UserError("spearman: without one pair a side is constant; too few distinct values for an interval")
    return jackknife_values(float(np.corrcoef(by_x.ranks, by_y.ranks)[0, 1]), left_out)


class _Ranked:
    """Values with their average ranks, and sums over what lies above each of them, by one sort."""

    def __init__(self, values: Floats) -> None:
        self.order = np.argsort(values, kind="stable")
        self.distinct, self.group, self.sizes = np.unique(values, return_inverse=True, return_counts=True)
        self.ends = self.sizes.cumsum()  # of each tie group, in sorted order
        self.ranks: Floats = (self.ends - (self.sizes - 1) / 2)[self.group]

    def above(self, weights: Floats) -> Floats:
        """For each i: sum over j of above[i, j] * weights[j]; float64 [n]."""
        return self._above_groups(weights)[self.group]

    def above_of(self, level: int) -> Floats:
        """above[i, :] for the members i of one tie group; float64 [n]."""
        return np.where(self.group > level, 1.0, np.where(self.group == level, 0.5, 0.0))

    def above_members(self, weights: Floats, members: NDArray[np.intp]) -> Floats:
        """`above` for some i only."""
        return self._above_groups(weights)[self.group[members]]

    def squares(self) -> Floats:
        """Sum of the squared ranks without i, for each i; float64 [n]."""
        count = len(self.ranks)
        above_squared = (count - self.ends + self.sizes / 4)[self.group]
        left = self.ranks @ self.ranks - 2 * self.above(self.ranks) + above_squared
        return np.asarray(left - (self.ranks - 0.5) ** 2, np.float64)

    def _above_groups(self, weights: Floats) -> Floats:
        upto = np.concatenate([[0.0], weights[self.order].cumsum()])
        ends, starts = upto[self.ends], upto[self.ends - self.sizes]
        return np.asarray(upto[-1] - ends + (ends - starts) / 2, np.float64)


def _above_both(by_x: _Ranked, by_y: _Ranked) -> Floats:
    """For each i: sum over j of above_x[i, j] * above_y[i, j], one pass per distinct y; float64 [n]."""
    both = np.empty_like(by_x.ranks)
    by_level = np.split(by_y.order, by_y.ends[:-1])
    for level, members in enumerate(by_level):
        both[members] = by_x.above_members(by_y.above_of(level), members)
    return both


def average_precision_values(scores: NDArray[np.floating], labels: NDArray[np.integer]) -> Floats:
    """Jackknife values of average precision as scikit-learn defines it (ties at one threshold); float64 [n].

    Args:
        scores: higher means "positive".
        labels: 1 or 0.

    Raises:
        UserError: fewer than 4 pairs, a NaN, or fewer than 2 positives.
    """
    values, positive = np.asarray(scores, np.float64), np.asarray(labels, np.float64)
    _check_finite(values, positive, least=4)
    if positive.sum() < 2:
        raise UserError("average precision: fewer than 2 positives; no interval exists")
    _, group = np.unique(-values, return_inverse=True)  # group 0 = the highest score
    hits, sizes = np.bincount(group, weights=positive), np.bincount(group)
    found, seen = hits.cumsum(), sizes.cumsum()
    total = found[-1]
    plain = hits * found / seen
    before = np.concatenate([[0.0], plain.cumsum()[:-1]])
    fewer = np.maximum(seen - 1, 1)  # seen = 1 has no other example at its threshold: the term is 0 / 1
    without_negative = hits * found / fewer
    without_positive = hits * (found - 1) / fewer
    after = without_positive[::-1].cumsum()[::-1] - without_positive
    dropped_negative = (before + without_negative[::-1].cumsum()[::-1]) / total
    dropped_positive = (before + (hits - 1) * (found - 1) / fewer + after) / (total - 1)
    left_out = np.where(positive == 1, dropped_positive[group], dropped_negative[group])
    return jackknife_values(float(plain.sum() / total), left_out)


def v_measure_values(labels: NDArray[np.integer], clusters: NDArray[np.integer]) -> Floats:
    """Jackknife values of the v-measure of one clustering held fixed; float64 [n].

    Clustering itself is not repeated without each document, so its share of the noise is not in these values.

    Raises:
        UserError: fewer than 4 documents.
    """
    _check_finite(np.asarray(labels, np.float64), np.asarray(clusters, np.float64), least=4)
    _, label = np.unique(labels, return_inverse=True)
    _, cluster = np.unique(clusters, return_inverse=True)
    table = np.zeros((label.max() + 1, cluster.max() + 1))
    np.add.at(table, (label, cluster), 1)
    count = len(label)
    # an entropy is log n - sum(m log m) / n; without a document of cell (l, c) one m of each sum falls by one
    sums, without = [], []
    for sizes, own in (
        (table.sum(1), label),
        (table.sum(0), cluster),
        (table.ravel(), label * table.shape[1] + cluster),
    ):
        sums.append(_m_log_m(sizes).sum())
        without.append(sums[-1] - _m_log_m(sizes)[own] + _m_log_m(sizes - 1)[own])
    whole = _v_measure(*(np.log(count) - np.array([total]) / count for total in sums))
    left_out = _v_measure(*(np.log(count - 1) - total / (count - 1) for total in without))
    return jackknife_values(float(whole[0]), left_out)


def _v_measure(labels: Floats, clusters: Floats, joint: Floats) -> Floats:
    """Rosenberg & Hirschberg (2007), beta = 1, from the three entropies; each [n]."""
    shared = labels + clusters - joint
    with np.errstate(divide="ignore", invalid="ignore"):
        homogeneity = np.where(labels > _NONE, shared / labels, 1.0)
        completeness = np.where(clusters > _NONE, shared / clusters, 1.0)
        both = homogeneity + completeness
        return np.where(both > _NONE, 2 * homogeneity * completeness / both, 0.0)


def _m_log_m(sizes: Floats) -> Floats:
    positive = np.maximum(sizes, 1)  # 0 log 0 = 1 log 1 = 0
    return positive * np.log(positive)


def _check_finite(*sides: Floats, least: int) -> None:
    if len({len(side) for side in sides}) != 1 or len(sides[0]) < least:
        raise UserError(f"per-example values: {[len(side) for side in sides]} examples; at least {least} are needed")
    for side in sides:
        if not np.isfinite(side).all():
            raise UserError(f"per-example values: example {int(np.argmin(np.isfinite(side)))} is not a finite number")
