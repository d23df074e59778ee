"""Small plots as SVG text: no library, no script, the same bytes for the same numbers.

Colours are CSS variables of the page (--ink, --soft, --line, --a, --b, --c), so a plot fits light and dark.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup, escape

WIDTH, HEIGHT = 520, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 12, 14, 40


@dataclass(frozen=True)
class Series:
    """Points of one name. `colour` is a CSS variable's name; `step` draws a filled histogram outline."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    colour: str
    step: bool = False
    dots: bool = False


def histogram(name: str, values: np.ndarray, edges: np.ndarray, colour: str) -> Series:
    """Share of `values` in each bin of `edges`, as a step series; values outside fall into the outer bins."""
    counts = np.histogram(np.clip(values, edges[0], edges[-1]), bins=edges)[0]
    shares = counts / max(1, len(values))
    return Series(name, [float(x) for x in np.repeat(edges, 2)[1:-1]], np.repeat(shares, 2).tolist(), colour, step=True)


def plot(
    series: Sequence[Series],
    title: str,
    x_label: str,
    y_label: str,
    x_range: tuple[float, float],
    y_range: tuple[float, float],
    marks: Sequence[tuple[float, str]] = (),
) -> Markup:
    """One plot with axes, a legend and vertical lines at `marks` (x, label)."""
    x_of = _scale(x_range, _LEFT, WIDTH - _RIGHT)
    y_of = _scale(y_range, HEIGHT - _BOTTOM, _TOP)
    parts = [f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT + 22}" role="img" aria-label="{escape(title)}">']
    for value in _ticks(*y_range):
        parts.append(
            f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y_of(value):.1f}" y2="{y_of(value):.1f}"/>'
            f'<text class="tick" x="{_LEFT - 6}" y="{y_of(value) + 4:.1f}" text-anchor="end">{value:g}</text>'
        )
    for value in _ticks(*x_range):
        place = f'x="{x_of(value):.1f}" y="{HEIGHT - _BOTTOM + 16}"'
        parts.append(f'<text class="tick" {place} text-anchor="middle">{value:g}</text>')
    for one in series:
        parts.append(_drawn(one, x_of, y_of))
    for value, label in marks:
        anchor, shift = ("end", -4) if x_of(value) > WIDTH * 0.7 else ("start", 4)
        at = x_of(value)
        parts.append(
            f'<line class="mark" x1="{at:.1f}" x2="{at:.1f}" y1="{_TOP}" y2="{HEIGHT - _BOTTOM}"/>'
            f'<text class="tick" x="{at + shift:.1f}" y="{_TOP + 10}" text-anchor="{anchor}">{escape(label)}</text>'
        )
    parts.append(
        f'<text class="label" x="{(WIDTH + _LEFT) / 2}" y="{HEIGHT - 6}" text-anchor="middle">{escape(x_label)}</text>'
        f'<text class="label" x="12" y="{(HEIGHT - _BOTTOM) / 2}" text-anchor="middle" '
        f'transform="rotate(-90 12 {(HEIGHT - _BOTTOM) / 2})">{escape(y_label)}</text>'
    )
    return Markup("".join([*parts, _legend(series), "</svg>"]))  # every text in it is escaped above


def _drawn(one: Series, x_of: "_Scale", y_of: "_Scale") -> str:
    points = " ".join(f"{x_of(x):.1f},{y_of(y):.1f}" for x, y in zip(one.x, one.y, strict=True))
    if not points:
        return ""
    drawn = f'<polyline class="line" style="stroke:var({one.colour})" points="{points}"/>'
    if one.step:
        base = f"{x_of(one.x[-1]):.1f},{y_of(0):.1f} {x_of(one.x[0]):.1f},{y_of(0):.1f}"
        drawn = f'<polygon class="area" style="fill:var({one.colour})" points="{points} {base}"/>' + drawn
    if one.dots:
        drawn += "".join(
            f'<circle cx="{x_of(x):.1f}" cy="{y_of(y):.1f}" r="3" style="fill:var({one.colour})"/>'
            for x, y in zip(one.x, one.y, strict=True)
        )
    return drawn


def _legend(series: Sequence[Series]) -> str:
    parts, x = [], float(_LEFT)
    for one in series:
        parts.append(
            f'<rect x="{x:.0f}" y="{HEIGHT + 6}" width="10" height="10" style="fill:var({one.colour})"/>'
            f'<text class="tick" x="{x + 15:.0f}" y="{HEIGHT + 15}">{escape(one.name)}</text>'
        )
        x += 32 + 6.2 * len(one.name)
    return "".join(parts)


@dataclass(frozen=True)
class _Scale:
    low: float
    high: float
    start: float
    stop: float

    def __call__(self, value: float) -> float:
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return self.start + share * (self.stop - self.start)


def _scale(span: tuple[float, float], start: float, stop: float) -> _Scale:
    low, high = span
    return _Scale(low, high if high > low else low + 1.0, start, stop)


def _ticks(low: float, high: float) -> list[float]:
    """About five round numbers within the range.

    >>> _ticks(0.0, 1.0)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    raw = (high - low) / 5 or 1.0
    size = 10.0 ** np.floor(np.log10(raw))
    step = float(size * min((m for m in (1, 2, 5, 10) if m * size >= raw * 0.999), default=10))
    first = np.ceil(low / step - 1e-9)
    return [round(float(first + i) * step, 10) for i in range(int((high - first * step) / step + 1e-9) + 1)]
