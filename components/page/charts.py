"""Hand-made SVG for the report and the gate: category bars and a difference plot with intervals.

Colours come from the page's CSS variables, so one drawing serves light, dark and print. Coordinates have one decimal:
the same scores give the same bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

_LABEL = 290  # width of the task names
_WIDTH = 1080
_PLOT = 500
_ROW = 22


@dataclass(frozen=True)
class Bar:
    """One bar: `style` is a CSS class (trained, production, teacher, base, public), `value` is in 0..1."""

    label: str
    value: float
    style: str


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


def bars(rows: Sequence[Bar], title: str) -> Markup:
    """Horizontal bars from 0 to 100, one a model, each with its label and value; 340 pixels wide."""
    label, room, row = 154, 130, 20
    height = row * len(rows) + 4
    parts = [f'<svg class="bars" viewBox="0 0 340 {height}" role="img" aria-label="{escape(title)}">']
    for number, bar in enumerate(rows):
        y, width = number * row, max(0.0, min(1.0, bar.value)) * room
        parts.append(
            f'<text class="name {bar.style}" x="{label - 8}" y="{y + 14}">{escape(_short(bar.label, 22))}'
            f"<title>{escape(bar.label)}</title></text>"
            f'<rect class="track" x="{label}" y="{y + 3}" width="{room}" height="14" rx="2"/>'
            f'<rect class="bar {bar.style}" x="{label}" y="{y + 3}" width="{width:.1f}" height="14" rx="2"/>'
            f'<text class="value" x="336" y="{y + 14}">{100 * bar.value:.2f}</text>'
        )
    return Markup("".join([*parts, "</svg>"]))  # every text in it is escaped above


def difference_plot(rows: Sequence[Difference], title: str) -> Markup:
    """A dot and its interval per row on one axis of points, zero marked; coloured when the interval leaves zero."""
    reach = _nice(max([0.005, *(abs(end) for row in rows for end in (row.lower, row.upper, row.value))]))
    height, middle = _ROW * len(rows) + 34, _LABEL + _PLOT / 2
    parts = [f'<svg class="differences" viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(title)}">']
    for tick in (-1.0, -0.5, 0.0, 0.5, 1.0):
        x = middle + tick * _PLOT / 2
        parts.append(
            f'<line class="{"zero" if tick == 0 else "grid"}" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{height - 24}"/>'
            f'<text class="tick" x="{x:.1f}" y="{height - 8}">{_points(tick * reach)}</text>'
        )
    for number, row in enumerate(rows):
        parts.append(_difference_row(row, number * _ROW, middle, _PLOT / 2 / reach))
    return Markup("".join([*parts, "</svg>"]))  # every text in it is escaped below


def _difference_row(row: Difference, y: int, middle: float, scale: float) -> str:
    if row.heading:
        return f'<text class="heading" x="0" y="{y + 16}">{escape(row.label)}</text>'
    style = "better" if row.lower > 0 else "worse" if row.upper < 0 else "even"
    left, dot, right = (middle + value * scale for value in (row.lower, row.value, row.upper))
    return (
        f'<text class="{"name mean" if row.bold else "name"}" x="{_LABEL - 14}" y="{y + 15}">'
        f"{escape(_short(row.label, 40))}"
        f"<title>{escape(row.label)}</title></text>"
        f'<line class="interval {style}" x1="{left:.1f}" x2="{right:.1f}" y1="{y + 11}" y2="{y + 11}"/>'
        f'<circle class="dot {style}" cx="{dot:.1f}" cy="{y + 11}" r="4"/>'
        f'<text class="figure" x="{_LABEL + _PLOT + 70}" y="{y + 15}">{_points(row.value)}</text>'
        f'<text class="range" x="{_LABEL + _PLOT + 82}" y="{y + 15}">'
        f"[{_points(row.lower)}, {_points(row.upper)}] {escape(row.note)}</text>"
    )


def _points(value: float) -> str:
    shown = f"{100 * value:+.2f}".replace("-", "−")
    return "0" if shown in ("+0.00", "−0.00") else shown


def _short(text: str, letters: int) -> str:
    return text if len(text) <= letters else text[: letters - 1] + "…"


def _nice(reach: float) -> float:
    """The least of 0.5, 1, 2, 4, 5, 10, 20, 40, 50, 60, 80 and 100 points that covers `reach`; 100 points at most."""
    steps = (0.005, 0.01, 0.02, 0.04, 0.05, 0.1, 0.2, 0.4, 0.5, 0.6, 0.8)
    return next((step for step in steps if step >= reach), 1.0)
