"""The plots of all pages: lines and histograms over axes, bars, and differences with their intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from components.base.short_lines import shorten_line
from components.page.svg import Drawing, Scale, element, split_words, ticks

_WIDTH, _HEIGHT = 400, 210  # of a plot, its legend comes below
_LEFT, _RIGHT, _TOP, _BOTTOM = 50, 12, 12, 40
_LETTER = 5.6  # mean width of a letter of 11 pixels


@dataclass(frozen=True)
class Series:
    """Points of one name in one colour, joined by a line.

    area: the area below it is filled. dots: a dot at each point. errors: half the length of each point's error bar.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    colour: str
    area: bool = False
    dots: bool = False
    errors: Sequence[float] = ()


@dataclass(frozen=True)
class Axis:
    """Label and range of an axis; round numbers are marked unless `ticks` says which."""

    label: str
    low: float
    high: float
    ticks: Sequence[float] | None = None

    def marked(self) -> Sequence[float]:
        """The values that get a tick."""
        return ticks(self.low, self.high) if self.ticks is None else self.ticks


def histogram(name: str, values: np.ndarray, edges: np.ndarray, colour: str) -> Series:
    """Share of `values` in each bin of `edges`; values outside fall into the outer bins."""
    counts = np.histogram(np.clip(values, edges[0], edges[-1]), bins=edges)[0]
    shares = counts / max(1, len(values))
    return Series(name, [float(x) for x in np.repeat(edges, 2)[1:-1]], np.repeat(shares, 2).tolist(), colour, area=True)


def plot(
    series: Sequence[Series],
    title: str,
    x: Axis,
    y: Axis,
    marks: Sequence[tuple[float, str]] = (),
    rings: Sequence[tuple[float, float]] = (),
) -> Drawing:
    """Series over two axes, with a legend, vertical lines at `marks` (x, label) and circles around `rings` (x, y)."""
    x_of = Scale(x.low, x.high, _LEFT, _WIDTH - _RIGHT)
    y_of = Scale(y.low, y.high, _HEIGHT - _BOTTOM, _TOP)
    parts = [*_axes(x, y, x_of, y_of)]
    for one in series:
        parts += _series(one, x_of, y_of)
    for value, label in marks:
        at, late = x_of(value), x_of(value) > _WIDTH * 0.7
        parts.append(element("line", class_="mark", x1=at, x2=at, y1=_TOP, y2=_HEIGHT - _BOTTOM))
        parts.append(
            element("text", label, class_="tick end" if late else "tick", x=at - 4 if late else at + 4, y=_TOP + 10)
        )
    parts += [element("circle", class_="ring", cx=x_of(a), cy=y_of(b), r=6) for a, b in rings]
    legend, rows = _legend(series)
    return Drawing(_WIDTH, _HEIGHT + 18 * rows + 4, title, Markup().join([*parts, *legend]), "plot")


def _axes(x: Axis, y: Axis, x_of: Scale, y_of: Scale) -> list[Markup]:
    parts, bottom, middle = [], _HEIGHT - _BOTTOM, (_HEIGHT - _BOTTOM + _TOP) / 2
    for value in y.marked():
        at = y_of(value)
        parts.append(element("line", class_="grid", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=at, y2=at))
        parts.append(element("text", f"{value:g}", class_="tick end", x=_LEFT - 6, y=at + 4))
    for value in x.marked():
        parts.append(element("text", f"{value:g}", class_="tick middle", x=x_of(value), y=bottom + 16))
    parts.append(element("text", x.label, class_="middle", x=(_WIDTH + _LEFT) / 2, y=_HEIGHT - 6))
    turned = f"rotate(-90 12 {middle:.1f})"
    parts.append(element("text", y.label, class_="middle", x=12, y=middle, transform=turned))
    return parts


def _series(one: Series, x_of: Scale, y_of: Scale) -> list[Markup]:
    at = [(x_of(x), y_of(y)) for x, y in zip(one.x, one.y, strict=True)]
    if not at:
        return []
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in at)
    parts = [element("polyline", class_=f"line {one.colour}", points=points)]
    if one.area:
        closed = f"{points} {at[-1][0]:.1f},{y_of(0):.1f} {at[0][0]:.1f},{y_of(0):.1f}"
        parts.insert(0, element("polygon", class_=f"area {one.colour}", points=closed))
    if one.dots:
        parts += [element("circle", class_=f"dot {one.colour}", cx=x, cy=y, r=3) for x, y in at]
    if one.errors:
        for x, y, error in zip(one.x, one.y, one.errors, strict=True):
            if error:
                ends = {"y1": y_of(y - error), "y2": y_of(y + error)}
                parts.append(element("line", class_=f"error {one.colour}", x1=x_of(x), x2=x_of(x), **ends))
    return parts


def _legend(series: Sequence[Series]) -> tuple[list[Markup], int]:
    """Names beside their colours, and in how many rows."""
    parts: list[Markup] = []
    x, row = float(_LEFT), 0
    for one in series:
        width = 28 + _LETTER * len(one.name)
        if x + width > _WIDTH and x > _LEFT:
            x, row = float(_LEFT), row + 1
        y = _HEIGHT + 6 + 18 * row
        parts.append(element("rect", class_=f"bar {one.colour}", x=x, y=y, width=10, height=10))
        parts.append(element("text", one.name, class_="tick", x=x + 15, y=y + 9))
        x += width
    return parts, row + 1


@dataclass(frozen=True)
class Bar:
    """One bar; `value` is in 0..1. A `soft` one has its name in grey."""

    label: str
    value: float
    colour: str
    soft: bool = False


def bars(rows: Sequence[Bar], title: str) -> Drawing:
    """Horizontal bars from 0 to 100, one a row, each with its label and value."""
    label, room, step, width = 154, 130, 20, 340
    parts = []
    for number, row in enumerate(rows):
        y, length = number * step, max(0.0, min(1.0, row.value)) * room
        full = element("title", row.label)
        name = "end soft" if row.soft else "end"
        parts += [
            element("text", shorten_line(row.label, 22), full, class_=name, x=label - 8, y=y + 14),
            element("rect", class_="track", x=label, y=y + 3, width=room, height=14, rx=2),
            element("rect", class_=f"bar {row.colour}", x=label, y=y + 3, width=length, height=14, rx=2),
            element("text", f"{100 * row.value:.2f}", class_="end", x=width - 4, y=y + 14),
        ]
    return Drawing(width, step * len(rows) + 4, title, Markup().join(parts))


@dataclass(frozen=True)
class Difference:
    """One row of a difference plot, all in 0..1; `heading` rows carry a category's name only."""

    label: str
    value: float = 0.0
    lower: float = 0.0
    upper: float = 0.0
    heading: bool = False
    note: str = ""
    bold: bool = False


def difference_rows(mean: Difference, categories: Mapping[str, Sequence[Difference]]) -> list[Difference]:
    """The mean, then each category's heading and its tasks, the largest difference first."""
    rows = [mean]
    for category in sorted(categories):
        rows.append(Difference(split_words(category), heading=True))
        rows.extend(sorted(categories[category], key=lambda row: (-row.value, row.label)))
    return rows


_LABEL, _AXIS, _ROW = 290, 500, 22  # of a difference plot: width of the names and of the axis, height of a row


def difference_plot(rows: Sequence[Difference], title: str) -> Drawing:
    """A dot and its interval per row on one axis of points, zero marked; coloured when the interval leaves zero."""
    reach = _reach(max([0.005, *(abs(end) for row in rows for end in (row.lower, row.upper, row.value))]))
    height, at = _ROW * len(rows) + 34, Scale(-reach, reach, _LABEL, _LABEL + _AXIS)
    parts = []
    for tick in (-reach, -reach / 2, 0.0, reach / 2, reach):
        line = "grid" if tick else "zero"
        parts.append(element("line", class_=line, x1=at(tick), x2=at(tick), y1=0, y2=height - 24))
        parts.append(element("text", _points(tick), class_="tick middle", x=at(tick), y=height - 8))
    for number, row in enumerate(rows):
        parts += _difference_row(row, number * _ROW, at)
    return Drawing(_LABEL + _AXIS + 290, height, title, Markup().join(parts), "wide")


def _difference_row(row: Difference, y: int, at: Scale) -> list[Markup]:
    if row.heading:
        return [element("text", row.label, class_="soft bold", x=0, y=y + 16)]
    colour = "green" if row.lower > 0 else "red" if row.upper < 0 else "grey"
    left, dot, right = (at(value) for value in (row.lower, row.value, row.upper))
    name, full = "end bold" if row.bold else "end", element("title", row.label)
    interval = f"[{_points(row.lower)}, {_points(row.upper)}] {row.note}"
    return [
        element("text", shorten_line(row.label, 40), full, class_=name, x=_LABEL - 14, y=y + 15),
        element("line", class_=f"interval {colour}", x1=left, x2=right, y1=y + 11, y2=y + 11),
        element("circle", class_=f"dot {colour}", cx=dot, cy=y + 11, r=4),
        element("text", _points(row.value), class_="end bold", x=_LABEL + _AXIS + 70, y=y + 15),
        element("text", interval, class_="soft", x=_LABEL + _AXIS + 82, y=y + 15),
    ]


def _points(value: float) -> str:
    shown = f"{100 * value:+.2f}".replace("-", "−")
    return "0" if shown in ("+0.00", "−0.00") else shown


def _reach(furthest: float) -> float:
    """The least of 0.5, 1, 2, 4, 5, 10, 20, 40, 50, 60, 80 and 100 points that covers `furthest`; 100 at most."""
    steps = (0.005, 0.01, 0.02, 0.04, 0.05, 0.1, 0.2, 0.4, 0.5, 0.6, 0.8)
    return next((step for step in steps if step >= furthest), 1.0)
