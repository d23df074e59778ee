"""SVG text without a library: elements, scales and ticks. The same numbers give the same bytes.

An element's texts and attribute values are escaped; coordinates have one decimal. Colours are classes of
templates/plots.css (blue, green, red, ...), so one drawing fits a light, a dark and a printed page.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from markupsafe import Markup, escape

_STYLE = Path(__file__).with_name("templates") / "plots.css"
_TITLE = 26  # height of a drawing's title in a file of several


def element(name: str, *children: str, **attributes: object) -> Markup:
    """One element; an attribute's `_` stands for `-`, and a trailing one is dropped.

    >>> print(element("text", "a < b", class_="tick", x=3.14159, text_anchor="end"))
    <text class="tick" x="3.1" text-anchor="end">a &lt; b</text>
    """
    shown = "".join(f' {_attribute(key)}="{escape(_number(value))}"' for key, value in attributes.items())
    return Markup(f"<{name}{shown}>{Markup().join(children)}</{name}>")  # every part is escaped above or Markup


def _attribute(key: str) -> str:
    return key.rstrip("_").replace("_", "-")


def _number(value: object) -> str:
    return f"{value:.1f}" if isinstance(value, float) else str(value)


@dataclass(frozen=True)
class Drawing:
    """A finished drawing: jinja shows it as an <svg> element of the page."""

    width: int
    height: int
    title: str
    content: Markup
    style: str = ""

    def __html__(self) -> str:
        box = f"0 0 {self.width} {self.height}"
        named = {"class_": self.style} if self.style else {}
        return element("svg", self.content, **named, viewBox=box, role="img", aria_label=self.title)


def standalone(drawings: Sequence[Drawing], columns: int) -> str:
    """A file with all drawings in a grid, each under its title; it brings the colours along, dark ones too."""
    width = max((one.width for one in drawings), default=1)
    height = max((one.height for one in drawings), default=1) + _TITLE
    placed = []
    for number, one in enumerate(drawings):
        x, y = number % columns * width, number // columns * height
        placed.append(element("text", one.title, class_="bold", x=x + 12, y=y + 18))
        size = {"width": one.width, "height": one.height}
        placed.append(element("svg", one.content, x=x, y=y + _TITLE, **size))
    style = element("style", Markup(_STYLE.read_text(encoding="utf-8")))  # ours, no text of a user
    page = element("rect", class_="page", width="100%", height="100%")
    box = f"0 0 {width * min(columns, len(drawings))} {height * -(-len(drawings) // columns)}"
    return element("svg", style, page, *placed, xmlns="http://www.w3.org/2000/svg", viewBox=box) + "\n"


@dataclass(frozen=True)
class Scale:
    """From values in [low, high] to coordinates in [start, stop]; what lies outside is drawn at the edge."""

    low: float
    high: float
    start: float
    stop: float

    def __call__(self, value: float) -> float:
        span = (self.high - self.low) or 1.0
        return self.start + (min(max(value, self.low), self.high) - self.low) / span * (self.stop - self.start)


def ticks(low: float, high: float) -> list[float]:
    """About five round numbers within the range.

    >>> ticks(0.0, 1.0)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    raw = (high - low) / 5 or 1.0
    size = 10.0 ** np.floor(np.log10(raw))
    step = float(size * min((m for m in (1, 2, 5, 10) if m * size >= raw * 0.999), default=10))
    first = np.ceil(low / step - 1e-9)
    return [round(float(first + i) * step, 10) for i in range(int((high - first * step) / step + 1e-9) + 1)]


def split_words(name: str) -> str:
    """ "PairClassification" -> "Pair Classification", so that it may wrap; "STS" stays."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
