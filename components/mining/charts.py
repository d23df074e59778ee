"""The plots of the mining report: where scores lie, where the margin cuts them, what other margins would give."""

import numpy as np
import polars as pl

from components.config import MineParams
from components.mining.margins import TaskMargin
from components.mining.rules import relative_threshold, share_of_positive
from components.page.plots import Axis, Series, histogram, plot
from components.page.svg import Drawing

_BINS = 40
_NEAR = (0.0, 1.5)  # range of the plot of scores against the positive


def charts(own: pl.DataFrame, right: pl.DataFrame, fitted: TaskMargin, params: MineParams) -> list[tuple[str, Drawing]]:
    """(caption, plot) of one task.

    Args:
        own: candidates after the rules. right: the positives. `score` of both is on the scale of the rules.
    """
    if own.is_empty():
        return []
    drawn = [_scores(own, right), _against_the_positive(own, fitted.margin)]
    return [*drawn, _curve(fitted.curve, fitted.margin, params)] if len(fitted.curve) else drawn


def _scores(own: pl.DataFrame, right: pl.DataFrame) -> tuple[str, Drawing]:
    kept, refused = own.filter(pl.col("reason").is_null()), own.filter(pl.col("reason").is_not_null())
    edges = np.linspace(*_span(np.concatenate([own["score"].to_numpy(), right["score"].to_numpy()])), _BINS + 1)
    spread = [
        histogram("positives", right["score"].to_numpy(), edges, "blue"),
        histogram("kept", kept["score"].to_numpy(), edges, "green"),
        histogram("refused", refused["score"].to_numpy(), edges, "red"),
    ]
    limits = own.unique("query").select(relative_threshold(pl.col("weakest"), pl.col("margin"))).to_series()
    middle = float(np.median(limits.to_numpy()))
    caption = "Scores. Each query has its own limit; the line is their median."
    return caption, _histograms(
        spread, "Scores", "score, on the scale of the margin", [(middle, f"limit {middle:.2f}")]
    )


def _against_the_positive(own: pl.DataFrame, margin: float) -> tuple[str, Drawing]:
    near = np.linspace(*_NEAR, _BINS + 1)
    ratio = share_of_positive(pl.col("score"), pl.col("weakest"))
    kept = own.filter(pl.col("reason").is_null()).select(ratio).to_series()
    refused = own.filter(pl.col("reason").is_not_null()).select(ratio).to_series()
    spread = [
        histogram("kept", kept.to_numpy(), near, "green"),
        histogram("refused", refused.to_numpy(), near, "red"),
    ]
    caption = "The same, as a share of the query's weakest positive. The outermost bars hold all that lies beyond."
    marks = [(margin, f"margin {margin:.2f}")]
    return caption, _histograms(spread, "Scores against the positive", "share of the weakest positive", marks)


def _histograms(series: list[Series], title: str, x_label: str, marks: list[tuple[float, str]]) -> Drawing:
    top = max((max(one.y) for one in series), default=0.0) or 1.0
    x = Axis(x_label, float(series[0].x[0]), float(series[0].x[-1]))
    return plot(series, title, x, Axis("share", 0.0, top * 1.15), marks)


def _curve(curve: pl.DataFrame, margin: float, params: MineParams) -> tuple[str, Drawing]:
    known = curve.drop_nulls("false_negative_rate")
    rate = Series(
        "judged false-negative rate", known["margin"].to_list(), known["false_negative_rate"].to_list(), "red"
    )
    share = (curve["negatives_per_query"] / params.negatives).to_list()
    filled = Series(f"negatives found, of {params.negatives}", curve["margin"].to_list(), share, "green")
    series = [rate, filled] if len(known) else [filled]
    bound = params.judge.false_negative_rate if params.judge else None
    if bound is not None:
        series.append(Series(f"bound {bound:g}", [0.5, 1.0], [bound, bound], "grey"))
    top, marks = max([1.0, *share]), [(margin, f"margin {margin:.2f}")]
    caption = "What another margin would have given on the dev queries."
    return caption, plot(series, "Margins on dev", Axis("margin", 0.5, 1.0), Axis("share", 0.0, top), marks)


def _span(values: np.ndarray) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    return (low, high) if high > low else (low - 0.5, high + 0.5)
