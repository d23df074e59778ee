"""The curve of dev score against number of shots, as one SVG: a panel a task, a line a strategy, the choice ringed.

Bars are one standard error of a score. The choice looks at paired differences, which vary less than the bars suggest.
"""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

_WIDTH, _HEIGHT, _MARGIN, _ACROSS = 300, 190, 38, 3
_NO_SHOTS = "#111111"
_COLOURS = {
    "random": "#888888",
    "diverse": "#1f6fb4",
    "hard": "#c8502d",
    "class_balanced": "#2e8b57",
    "reranker_best": "#8a55b5",
}


def curve_svg(rows: Sequence[Mapping[str, Any]], chosen: Mapping[str, tuple[str, int]]) -> str:
    """Draw `rows` (task, strategy, shots, score, standard_error); `chosen` is (strategy, shots) by task."""
    tasks = list(dict.fromkeys(str(row["task"]) for row in rows))
    height = -(-len(tasks) // _ACROSS) * _HEIGHT + 28
    width = _ACROSS * _WIDTH
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        f'font-size="11"><rect width="{width}" height="{height}" fill="#ffffff"/>'
    ]
    for place, task in enumerate(tasks):
        x, y = place % _ACROSS * _WIDTH, place // _ACROSS * _HEIGHT
        own = [row for row in rows if row["task"] == task]
        parts.append(f'<g transform="translate({x},{y})">{_panel(task, own, chosen.get(task))}</g>')
    used = [name for name in _COLOURS if any(row["strategy"] == name for row in rows)]
    for place, name in enumerate(used):
        at = f'x="{_MARGIN + 95 * place}" y="{height - 10}"'
        parts.append(f'<text {at} fill="{_COLOURS[name]}">{escape(name.replace("_", " "))}</text>')
    key = "across: number of shots; bars: one standard error; ring: chosen"
    parts.append(f'<text x="{width - _MARGIN}" y="{height - 10}" text-anchor="end">{key}</text>')
    return "".join([*parts, "</svg>\n"])


def _panel(task: str, rows: Sequence[Mapping[str, Any]], chosen: tuple[str, int] | None) -> str:
    low = min(row["score"] - row["standard_error"] for row in rows)
    high = max(row["score"] + row["standard_error"] for row in rows)
    most = max(1, max(row["shots"] for row in rows))

    def at(row: Mapping[str, Any], shift: float = 0.0) -> tuple[float, float]:
        across = _MARGIN + row["shots"] / most * (_WIDTH - 2 * _MARGIN)
        share = (row["score"] + shift * row["standard_error"] - low) / ((high - low) or 1.0)
        return across, _HEIGHT - _MARGIN - share * (_HEIGHT - 2 * _MARGIN)

    none = [row for row in rows if row["shots"] == 0]
    parts = [
        f'<text x="{_MARGIN}" y="22"><tspan font-weight="bold">{escape(task)}</tspan>: dev nDCG@10 by shots</text>',
        f'<text x="4" y="{_MARGIN + 4}">{high:.2f}</text><text x="4" y="{_HEIGHT - _MARGIN}">{low:.2f}</text>',
    ]
    for number in range(most + 1):
        across = _MARGIN + number / most * (_WIDTH - 2 * _MARGIN)
        parts.append(f'<text x="{across:.1f}" y="{_HEIGHT - 16}" text-anchor="middle">{number}</text>')
    for strategy, colour in _COLOURS.items():
        line = [row for row in rows if row["strategy"] == strategy]
        if line:
            points = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(at, [*none, *line]))
            parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
    for row in rows:
        (x, top), (_, bottom) = at(row, 1.0), at(row, -1.0)
        colour = _COLOURS.get(row["strategy"], _NO_SHOTS)
        parts.append(f'<path d="M{x:.1f} {top:.1f}V{bottom:.1f}" stroke="{colour}" stroke-opacity="0.4"/>')
        if chosen == (row["strategy"], row["shots"]):
            x, y = at(row)
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="6" fill="none" stroke="#111111" stroke-width="2"/>')
    return "".join(parts)
