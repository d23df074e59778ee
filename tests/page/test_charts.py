"""Drawings: where bars and dots are, and that no text can break out of them."""

import re

from components.page.charts import Bar, Difference, bars, difference_plot


def test_bars_are_proportional_and_stay_in_their_track() -> None:
    drawing = bars([Bar("a", 0.25, "trained"), Bar("b", 1.0, "base"), Bar("c", -0.2, "base")], "x")
    widths = [float(width) for width in re.findall(r'class="bar \w+" [^/]*width="([\d.]+)"', drawing)]
    assert widths == [32.5, 130.0, 0.0]


def test_dots_stand_where_the_axis_says() -> None:
    row = Difference("t", 0.005, -0.0025, 0.01)
    drawing = difference_plot([row], "x")
    ticks = [float(x) for x in re.findall(r'<text class="tick" x="([\d.]+)"', drawing)]
    dot = float(re.findall(r'cx="([\d.]+)"', drawing)[0])
    assert re.findall(r'class="tick"[^>]*>([^<]+)<', drawing) == ["−1.00", "−0.50", "0", "+0.50", "+1.00"]
    assert dot == ticks[3]
    assert 'class="dot even"' in drawing


def test_colour_says_whether_the_interval_leaves_zero() -> None:
    rows = [Difference("a", 0.02, 0.01, 0.03), Difference("b", -0.02, -0.03, -0.01), Difference("c", 0.0, 0.0, 0.0)]
    assert re.findall(r'class="dot (\w+)"', difference_plot(rows, "x")) == ["better", "worse", "even"]


def test_labels_are_escaped() -> None:
    evil = "<g onload='x'>"
    row = Difference(evil, 0.01, 0, 0.02, note=evil)
    drawing = bars([Bar(evil, 0.5, "base")], evil) + difference_plot([row, Difference(evil, heading=True)], evil)
    assert "<g" not in drawing
    assert "'x'" not in drawing
