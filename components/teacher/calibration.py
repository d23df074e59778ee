"""Calibration of raw teacher scores to relevance probabilities, fitted on the dev queries of each task.

One curve per task, since a raw score means different things in different tasks (on the starter recipe one common curve
gave 32 % where 75 % were positives); a task with few dev pairs uses the curve fitted on all tasks.
The fit takes a query's positives as 1 and its other candidates as 0. Some of the others are unlabelled positives, so
the probability is a lower bound; the order of the scores, which mining and distillation use, is kept.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

_BINS = 10  # of the calibration error


@dataclass(frozen=True)
class Calibration:
    """A monotone map to [0, 1]: a logistic curve (temperature, platt), or a step function (isotonic)."""

    kind: Literal["temperature", "platt", "isotonic"]
    slope: float = 1.0
    offset: float = 0.0
    points: tuple[tuple[float, float], ...] = ()

    def __call__(self, raw: np.ndarray) -> np.ndarray:
        """float64 [n], each in [0, 1]."""
        if self.kind == "isotonic":
            x, y = np.array(self.points).T
            return np.asarray(np.interp(raw, x, y))
        return 1.0 / (1.0 + np.exp(-np.clip(self.slope * np.asarray(raw, np.float64) + self.offset, -500, 500)))


def fit_calibration(
    kind: Literal["temperature", "platt", "isotonic"], raw: np.ndarray, positive: np.ndarray
) -> Calibration:
    """Fit on float [n] raw scores and bool [n] labels.

    temperature: sigmoid(raw / T) (Guo et al. 2017); platt: sigmoid(a raw + b), a >= 0 (Platt 1999); isotonic: the
    monotone steps nearest to the labels (Zadrozny and Elkan 2002). With one class only, platt with slope 1, offset 0.
    """
    if positive.all() or not positive.any():
        return Calibration("platt")
    if kind == "isotonic":
        from sklearn.isotonic import IsotonicRegression

        steps = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(raw, positive)
        return Calibration(
            kind, points=tuple(zip(steps.X_thresholds_.tolist(), steps.y_thresholds_.tolist(), strict=True))
        )
    slope, offset = _logistic(np.asarray(raw, np.float64), positive.astype(np.float64), with_offset=kind == "platt")
    return Calibration(kind, slope=slope, offset=offset)


def cross_fit_relevance(
    kind: Literal["temperature", "platt", "isotonic"], raw: np.ndarray, positive: np.ndarray, query: np.ndarray
) -> np.ndarray:
    """Two-fold cross-fitting: float64 [n], relevance by a curve fitted without the pair's query.

    Folds are the odd and the even queries. query: int [n]. If the other fold has one class only, the
    curve is fitted on all pairs.
    """
    relevance = np.empty(len(raw))
    for parity in (0, 1):
        fold = np.unique(query, return_inverse=True)[1] % 2 == parity
        if positive[~fold].all() or not positive[~fold].any():
            relevance[fold] = fit_calibration(kind, raw, positive)(raw[fold])
        else:
            relevance[fold] = fit_calibration(kind, raw[~fold], positive[~fold])(raw[fold])
    return relevance


def _logistic(x: np.ndarray, y: np.ndarray, with_offset: bool) -> tuple[float, float]:
    """Maximum likelihood by L-BFGS on standardised scores, slope >= 0; a ridge of 1e-6 bounds it on separable data."""
    from scipy.optimize import minimize

    centre, scale = (float(x.mean()), float(x.std()) or 1.0) if with_offset else (0.0, float(np.abs(x).max()) or 1.0)
    z = (x - centre) / scale

    def loss(theta: np.ndarray) -> tuple[float, np.ndarray]:
        logit = theta[0] * z + theta[1]
        error = 1.0 / (1.0 + np.exp(-np.clip(logit, -500, 500))) - y
        value = np.mean(np.logaddexp(0.0, logit) - y * logit) + 1e-6 * float(theta @ theta)
        gradient = np.array([np.mean(error * z), np.mean(error) if with_offset else 0.0]) + 2e-6 * theta
        return float(value), gradient

    bounds = [(0.0, None), (None, None) if with_offset else (0.0, 0.0)]
    a, b = minimize(loss, np.array([1.0, 0.0]), jac=True, bounds=bounds, method="L-BFGS-B").x
    return float(a / scale), float(b - a * centre / scale)


def expected_calibration_error(probability: np.ndarray, positive: np.ndarray) -> float:
    """Mean over equally filled bins of |mean probability - share of positives|."""
    order = np.argsort(probability, kind="stable")
    parts = [part for part in np.array_split(order, _BINS) if len(part)]
    gaps = [abs(float(probability[part].mean() - positive[part].mean())) * len(part) for part in parts]
    return sum(gaps) / len(order)
