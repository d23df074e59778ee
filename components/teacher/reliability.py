"""Does "70 % relevant" hold for 70 of 100 pairs? The page that shows it, task by task."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from components.page.plots import Axis, Series, histogram, plot
from components.page.render import render_page
from components.page.svg import Drawing
from components.teacher.calibration import Calibration, expected_calibration_error


@dataclass(frozen=True)
class Reliability:
    """One task's pairs: float [n] raw scores and relevance, bool [n] labels, and the curve that maps one to the other.

    own: whether the curve was fitted on this task; its relevance is then cross-fitted, otherwise the curve's.
    """

    task: str
    curve: Calibration
    raw: np.ndarray
    relevance: np.ndarray
    positive: np.ndarray
    own: bool


def write_reliability(file: Path, tasks: Sequence[Reliability], on: str) -> None:
    """Write one self-contained page; per task raw scores, the fitted curve, and stated against observed relevance."""
    rows = [
        (one, _plots(one), expected_calibration_error(one.relevance, one.positive)) for one in tasks if len(one.raw)
    ]
    page = render_page("components.teacher", "score.html.jinja", title="Teacher scores", rows=rows, on=on)
    file.write_text(page, encoding="utf-8")


def _plots(one: Reliability) -> list[tuple[str, Drawing]]:
    """(caption, plot)."""
    how = "by curves that did not see the query" if one.own else "by the curve of all tasks"
    return [
        ("Raw scores", _scores(one.raw, one.positive)),
        (f"The curve ({one.curve.kind})", _curve(one.curve, one.raw)),
        (f"Stated against observed relevance, {how}", _reliability(one.relevance, one.positive)),
    ]


def _scores(raw: np.ndarray, positive: np.ndarray) -> Drawing:
    low, high = float(raw.min()), float(raw.max())
    edges = np.linspace(low, high if high > low else low + 1, 41)
    shown = [
        histogram("positives", raw[positive], edges, "blue"),
        histogram("other candidates", raw[~positive], edges, "red"),
    ]
    top = max(max(one.y) for one in shown) * 1.1
    x = Axis("teacher score", float(edges[0]), float(edges[-1]))
    return plot(shown, "Raw scores", x, Axis("share", 0.0, top))


def _curve(curve: Calibration, raw: np.ndarray) -> Drawing:
    x = np.linspace(float(raw.min()), float(raw.max()), 81)
    line = Series("relevance", x.tolist(), curve(x).tolist(), "blue")
    across = Axis("teacher score", float(x[0]), float(x[-1]))
    return plot([line], "Calibration", across, Axis("relevance", 0.0, 1.0))


def _reliability(relevance: np.ndarray, positive: np.ndarray) -> Drawing:
    """Bins of equal width; a bin with fewer than 10 pairs is left out."""
    bins = np.minimum((relevance * 10).astype(int), 9)
    full = [b for b in range(10) if (bins == b).sum() >= 10]
    stated = [float(relevance[bins == b].mean()) for b in full]
    observed = [float(positive[bins == b].mean()) for b in full]
    ideal = Series("perfect", [0.0, 1.0], [0.0, 1.0], "grey")
    points = Series("observed", stated, observed, "green", dots=True)
    stated_axis, observed_axis = Axis("stated relevance", 0.0, 1.0), Axis("share of positives", 0.0, 1.0)
    return plot([ideal, points], "Reliability", stated_axis, observed_axis)
