"""The curve of dev score against number of shots, as one SVG: a panel a task, a line a strategy, the choice ringed.

Bars are one standard error of a score. The choice looks at paired differences, which vary less than the bars suggest.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from components.page.plots import Axis, Series, plot
from components.page.svg import Drawing, standalone

_ACROSS = 3  # panels in a row
_COLOURS = {
    "random": "grey",
    "diverse": "blue",
    "hard": "red",
    "class_balanced": "green",
    "reranker_best": "purple",
}


def curve_svg(rows: Sequence[Mapping[str, Any]], chosen: Mapping[str, tuple[str, int]]) -> str:
    """Draw `rows` (task, strategy, shots, measure, score, standard_error); `chosen` is (strategy, shots) by task."""
    tasks = dict.fromkeys(str(row["task"]) for row in rows)
    panels = [_panel(task, [row for row in rows if row["task"] == task], chosen.get(task)) for task in tasks]
    return standalone(panels, _ACROSS)


def _panel(task: str, rows: Sequence[Mapping[str, Any]], chosen: tuple[str, int] | None) -> Drawing:
    none = [row for row in rows if row["shots"] == 0]
    series = [_series("no shots", none, [], "ink")]
    for strategy, colour in _COLOURS.items():
        own = [row for row in rows if row["strategy"] == strategy]
        if own:
            series.append(_series(strategy.replace("_", " "), own, none, colour))
    most = max(1, *(row["shots"] for row in rows))
    low = min(row["score"] - row["standard_error"] for row in rows)
    high = max(row["score"] + row["standard_error"] for row in rows)
    rings = [(row["shots"], row["score"]) for row in rows if chosen == (row["strategy"], row["shots"])]
    x = Axis("shots (bars: one standard error; ring: chosen)", 0, most, range(most + 1))
    return plot(series, task, x, Axis(f"dev {rows[0]['measure']}", low, high), rings=rings)


def _series(name: str, rows: Sequence[Mapping[str, Any]], before: Sequence[Mapping[str, Any]], colour: str) -> Series:
    """A line from `before`, whose error bars another series draws, through `rows`."""
    points = [*before, *rows]
    errors = [0.0] * len(before) + [row["standard_error"] for row in rows]
    return Series(name, [row["shots"] for row in points], [row["score"] for row in points], colour, errors=errors)
