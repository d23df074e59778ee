"""Does "70 % relevant" hold for 70 of 100 pairs? The page that shows it for the dev queries."""

from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from components.svg import Series, histogram, plot
from components.teacher.calibration import Calibration


def write_reliability(
    file: Path, curve: Calibration, raw: np.ndarray, relevance: np.ndarray, positive: np.ndarray, on: str
) -> None:
    """Write one self-contained page: raw scores, the fitted curve, and stated against observed relevance.

    Args:
        raw, relevance: float [pairs]; positive: bool [pairs]. on: what the pairs are, in words.
    """
    pages = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True, undefined=StrictUndefined
    )
    plots = [_scores(raw, positive), _curve(curve, raw), _reliability(relevance, positive)]
    page = pages.get_template("score.html.jinja").render(
        kind=curve.kind, on=on, pairs=len(raw), positives=int(positive.sum()), plots=plots
    )
    file.write_text(page, encoding="utf-8")


def _scores(raw: np.ndarray, positive: np.ndarray) -> Markup:
    low, high = float(raw.min()), float(raw.max())
    edges = np.linspace(low, high if high > low else low + 1, 41)
    shown = [
        histogram("positives", raw[positive], edges, "--a"),
        histogram("other candidates", raw[~positive], edges, "--c"),
    ]
    top = max(max(one.y) for one in shown) * 1.1
    return plot(shown, "Raw scores", "teacher score", "share", (float(edges[0]), float(edges[-1])), (0.0, top))


def _curve(curve: Calibration, raw: np.ndarray) -> Markup:
    x = np.linspace(float(raw.min()), float(raw.max()), 81)
    line = Series("relevance", x.tolist(), curve(x).tolist(), "--a")
    return plot([line], "Calibration", "teacher score", "relevance", (float(x[0]), float(x[-1])), (0.0, 1.0))


def _reliability(relevance: np.ndarray, positive: np.ndarray) -> Markup:
    """Bins of equal width; a bin with fewer than 10 pairs is left out."""
    bins = np.minimum((relevance * 10).astype(int), 9)
    full = [b for b in range(10) if (bins == b).sum() >= 10]
    stated = [float(relevance[bins == b].mean()) for b in full]
    observed = [float(positive[bins == b].mean()) for b in full]
    ideal = Series("perfect", [0.0, 1.0], [0.0, 1.0], "--line")
    points = Series("observed", stated, observed, "--b", dots=True)
    return plot([ideal, points], "Reliability", "stated relevance", "share of positives", (0.0, 1.0), (0.0, 1.0))
