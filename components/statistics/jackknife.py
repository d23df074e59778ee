"""Jackknife values: one number per example for metrics that are not a mean over examples.

Spearman, average precision and v-measure are functions of the whole sample. Let theta_(-i) be the metric without
example i. The values
    value_i = theta + (n - 1) * (mean_j theta_(-j) - theta_(-i))
average to theta exactly, and the mean of resampled values is the first-order (infinitesimal jackknife) approximation of
the metric of resampled examples (Efron & Tibshirani 1993, section 20.3). It ignores the metric's curvature, an error of
order 1/n; tests compare its standard deviation with that of a brute-force bootstrap. So one resample of any metric
costs one mean, and 10,000 resamples of 41 tasks take seconds.

The n leave-one-out metrics are exact and computed together, from sorted cumulative sums, not by n calls.
"""

import numpy as np
from numpy.typing import NDArray

from components.base.errors import UserError

Floats = NDArray[np.float64]
_ZERO = 1e-12  # an entropy below this is rounding error: there is one label, or one cluster


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
    # Without i the rank of j falls by above[i, j] = 1 if j lies above i, 1/2 at a tie (i itself: 1/2), so for each i
    # sum_j (rx - ax)(ry - ay) = sum rx ry - sum ax ry - sum ay rx + sum ax ay.
    xy = by_x.ranks @ by_y.ranks - by_x.sum_above(by_y.ranks) - by_y.sum_above(by_x.ranks)
    xy += _sum_above_in_both(by_x, by_y)
    # That sum still holds the term of i itself, whose ranks are lowered by 1/2.
    own = (by_x.ranks - 0.5) * (by_y.ranks - 0.5)
    # The other n - 1 ranks average to n / 2: covariance and variances times n - 1, from sums of products.
    count = len(x) - 1
    centre = count * ((count + 1) / 2) ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = np.sqrt((by_x.sum_squares() - centre) * (by_y.sum_squares() - centre))
        left_out = (xy - own - centre) / spread
    if not np.isfinite(left_out).all():
        raise UserError("spearman: without one pair a side is constant; too few distinct values for an interval")
    return jackknife_values(float(np.corrcoef(by_x.ranks, by_y.ranks)[0, 1]), left_out)


class _Ranked:
    """Average ranks of values, and sums over the values above each of them, by one sort.

    above[i, j] is 1 if value j lies above value i, 1/2 if they are equal (j = i included), else 0. It is never built.
    """

    def __init__(self, values: Floats) -> None:
        self.order = np.argsort(values, kind="stable")
        # Groups of equal values, in rising order: the group of each value, and the size of each group.
        _, self.group, self.sizes = np.unique(values, return_inverse=True, return_counts=True)
        # Position after each group's last member in sorted order. Its members' ranks, from 1, average to this.
        self.ends = self.sizes.cumsum()
        self.ranks: Floats = (self.ends - (self.sizes - 1) / 2)[self.group]

    def sum_above(self, weights: Floats) -> Floats:
        """For each i: sum over j of above[i, j] * weights[j]; float64 [n]."""
        return self._sum_above_groups(weights)[self.group]

    def above_group(self, level: int) -> Floats:
        """above[i, :] for the members i of one tie group; float64 [n]."""
        return np.where(self.group > level, 1.0, np.where(self.group == level, 0.5, 0.0))

    def sum_above_members(self, weights: Floats, members: NDArray[np.intp]) -> Floats:
        """`sum_above` for the given i only."""
        return self._sum_above_groups(weights)[self.group[members]]

    def sum_squares(self) -> Floats:
        """Sum of the squared ranks without i, for each i; float64 [n]."""
        # sum_j above[i, j]^2: 1 for each value above i's group, 1/4 for each member of the group.
        above_squared = (len(self.ranks) - self.ends + self.sizes / 4)[self.group]
        # sum_j (r - a)^2 = sum r^2 - 2 sum a r + sum a^2, minus the term of i itself.
        lowered = self.ranks @ self.ranks - 2 * self.sum_above(self.ranks) + above_squared
        return np.asarray(lowered - (self.ranks - 0.5) ** 2, np.float64)

    def _sum_above_groups(self, weights: Floats) -> Floats:
        """sum_j above[i, j] * weights[j] for i in each group; float64 [groups]."""
        # cumulative[p]: sum of the p smallest values' weights.
        cumulative = np.concatenate([[0.0], weights[self.order].cumsum()])
        ends, starts = cumulative[self.ends], cumulative[self.ends - self.sizes]
        # All weights after the group, and half of the group's own.
        return np.asarray(cumulative[-1] - ends + (ends - starts) / 2, np.float64)


def _sum_above_in_both(by_x: _Ranked, by_y: _Ranked) -> Floats:
    """For each i: sum over j of above_x[i, j] * above_y[i, j], one pass per distinct y; float64 [n]."""
    both = np.empty_like(by_x.ranks)
    # Members of one group of y share above_y[i, :]: it is the weight of one cumulative sum over x.
    by_level = np.split(by_y.order, by_y.ends[:-1])
    for level, members in enumerate(by_level):
        both[members] = by_x.sum_above_members(by_y.above_group(level), members)
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
    # Groups of equal scores, the highest first. Down to each group: positives found, examples seen.
    _, group = np.unique(-values, return_inverse=True)
    hits, sizes = np.bincount(group, weights=positive), np.bincount(group)
    found, seen = hits.cumsum(), sizes.cumsum()
    total = found[-1]
    # AP = sum of a group's recall gain times its precision; `terms` is that times the number of positives.
    terms = hits * found / seen
    # Groups above the left-out example keep their terms.
    before = np.concatenate([[0.0], terms.cumsum()[:-1]])
    fewer = np.maximum(seen - 1, 1)  # seen = 1: no other example is left at this threshold, the term is 0 / 1
    # A negative less: its own group and all below have seen one example less.
    terms_one_seen_less = hits * found / fewer
    dropped_negative = (before + terms_one_seen_less[::-1].cumsum()[::-1]) / total
    # A positive less: the groups below have also found one less, its own group has one hit less too.
    terms_one_found_less = hits * (found - 1) / fewer
    below = terms_one_found_less[::-1].cumsum()[::-1] - terms_one_found_less
    dropped_positive = (before + (hits - 1) * (found - 1) / fewer + below) / (total - 1)
    left_out = np.where(positive == 1, dropped_positive[group], dropped_negative[group])
    return jackknife_values(float(terms.sum() / total), left_out)


def v_measure_values(labels: NDArray[np.integer], clusters: NDArray[np.integer]) -> Floats:
    """Jackknife values of the v-measure of one clustering held fixed; float64 [n].

    Clustering itself is not repeated without each document, so its share of the noise is not in these values.

    Raises:
        UserError: fewer than 4 documents.
    """
    _check_finite(np.asarray(labels, np.float64), np.asarray(clusters, np.float64), least=4)
    # Contingency table: documents by label and cluster.
    _, label = np.unique(labels, return_inverse=True)
    _, cluster = np.unique(clusters, return_inverse=True)
    table = np.zeros((label.max() + 1, cluster.max() + 1))
    np.add.at(table, (label, cluster), 1)
    count = len(label)
    # The entropy of counts m that sum to n is log n - sum(m log m) / n, here of labels, clusters and cells. Without a
    # document of cell (l, c) one m of each of the three sums falls by one.
    sums, without = [], []
    for sizes, own in (
        (table.sum(1), label),
        (table.sum(0), cluster),
        (table.ravel(), label * table.shape[1] + cluster),
    ):
        sums.append(_m_log_m(sizes).sum())
        without.append(sums[-1] - _m_log_m(sizes)[own] + _m_log_m(sizes - 1)[own])
    observed = _v_measure(*(np.log(count) - np.array([total]) / count for total in sums))
    left_out = _v_measure(*(np.log(count - 1) - total / (count - 1) for total in without))
    return jackknife_values(float(observed[0]), left_out)


def _v_measure(labels: Floats, clusters: Floats, joint: Floats) -> Floats:
    """Rosenberg & Hirschberg (2007), beta = 1, from the three entropies; each [n]."""
    shared = labels + clusters - joint  # mutual information
    with np.errstate(divide="ignore", invalid="ignore"):
        homogeneity = np.where(labels > _ZERO, shared / labels, 1.0)
        completeness = np.where(clusters > _ZERO, shared / clusters, 1.0)
        both = homogeneity + completeness
        return np.where(both > _ZERO, 2 * homogeneity * completeness / both, 0.0)


def _m_log_m(sizes: Floats) -> Floats:
    positive = np.maximum(sizes, 1)  # 0 log 0 = 1 log 1 = 0
    return positive * np.log(positive)


def _check_finite(*sides: Floats, least: int) -> None:
    if len({len(side) for side in sides}) != 1 or len(sides[0]) < least:
        raise UserError(f"per-example values: {[len(side) for side in sides]} examples; at least {least} are needed")
    for side in sides:
        if not np.isfinite(side).all():
            raise UserError(f"per-example values: example {int(np.argmin(np.isfinite(side)))} is not a finite number")
