"""Drawings: where bars, dots and lines are, what is left out, and that no text can break out of them."""

import re

import numpy as np
import pytest

from components.page.plots import (
    Axis,
    Bar,
    Difference,
    Series,
    bars,
    difference_plot,
    difference_rows,
    histogram,
    plot,
)
from components.page.svg import Drawing

X, Y = Axis("shots", 0.0, 2.0, ticks=[0, 1, 2]), Axis("score", 0.0, 1.0)


def drawn(drawing: Drawing) -> str:
    return drawing.__html__()


def test_bars_are_proportional_and_stay_in_their_track() -> None:
    drawing = drawn(bars([Bar("a", 0.25, "blue"), Bar("b", 1.0, "grey"), Bar("c", -0.2, "grey")], "x"))
    widths = [float(width) for width in re.findall(r'class="bar \w+" [^/]*width="([\d.]+)"', drawing)]
    assert widths == [32.5, 130.0, 0.0]


def test_dots_stand_where_the_axis_says() -> None:
    row = Difference("t", 0.005, -0.0025, 0.01)
    drawing = drawn(difference_plot([row], "x"))
    ticks = [float(x) for x in re.findall(r'<text class="tick middle" x="([\d.]+)"', drawing)]
    dot = float(re.findall(r'cx="([\d.]+)"', drawing)[0])
    assert re.findall(r'class="tick[^>]*>([^<]+)<', drawing) == ["−1.00", "−0.50", "0", "+0.50", "+1.00"]
    assert dot == ticks[3]
    assert 'class="dot grey"' in drawing


def test_colour_says_whether_the_interval_leaves_zero() -> None:
    rows = [Difference("a", 0.02, 0.01, 0.03), Difference("b", -0.02, -0.03, -0.01), Difference("c", 0.0, 0.0, 0.0)]
    assert re.findall(r'class="dot (\w+)"', drawn(difference_plot(rows, "x"))) == ["green", "red", "grey"]


def test_rows_of_differences_go_by_category_then_by_size() -> None:
    tasks = {"Sts": [Difference("a", 0.1), Difference("b", 0.2)], "PairTasks": [Difference("c", -0.1)]}
    labels = [row.label for row in difference_rows(Difference("mean"), tasks)]
    assert labels == ["mean", "Pair Tasks", "c", "Sts", "b", "a"]


def test_labels_are_escaped() -> None:
    evil = "<g onload='x'>"
    rows = [Difference(evil, 0.01, 0, 0.02, note=evil), Difference(evil, heading=True)]
    line = plot([Series(evil, [0], [1], "blue")], evil, Axis(evil, 0, 1), Axis(evil, 0, 1), marks=[(0.5, evil)])
    for drawing in (bars([Bar(evil, 0.5, "grey")], evil), difference_plot(rows, evil), line):
        assert "<g" not in drawn(drawing)
        assert "'x'" not in drawn(drawing)


def test_points_ticks_and_rings_are_where_the_axes_say() -> None:
    drawing = drawn(plot([Series("s", [0, 1, 2], [0.0, 0.5, 1.0], "blue")], "t", X, Y, rings=[(1, 0.5)]))
    points = [tuple(map(float, pair.split(","))) for pair in re.findall(r'points="([^"]+)"', drawing)[0].split()]
    assert [x for x, _ in points] == [float(x) for x in re.findall(r'class="tick middle" x="([\d.]+)"', drawing)]
    assert points[1][1] == pytest.approx((points[0][1] + points[2][1]) / 2)
    assert points[0][1] > points[2][1]  # larger values are higher up
    assert re.findall(r'class="ring" cx="([\d.]+)" cy="([\d.]+)"', drawing) == [tuple(map(str, points[1]))]


def test_what_lies_outside_an_axis_is_drawn_at_its_edge() -> None:
    inside = drawn(plot([Series("s", [0, 2], [0.0, 1.0], "blue")], "t", X, Y))
    outside = drawn(plot([Series("s", [-3, 9], [-1.0, 7.0], "blue")], "t", X, Y))
    assert inside == outside


def test_error_bars_are_twice_the_error_and_none_without_one() -> None:
    series = Series("s", [0, 1, 2], [0.5, 0.5, 0.5], "blue", errors=[0.1, 0.0, 0.2])
    ends = re.findall(r'class="error blue"[^>]*y1="([\d.]+)" y2="([\d.]+)"', drawn(plot([series], "t", X, Y)))
    small, large = (float(low) - float(high) for low, high in ends)
    assert large == pytest.approx(2 * small, abs=0.2)


def test_a_legend_wraps_and_makes_the_drawing_higher() -> None:
    short, long = (
        plot([Series(name, [0], [0], "blue") for name in names], "t", X, Y)
        for names in (["a", "b"], ["a name of some length", "another name of some length", "a third one"])
    )
    assert long.height > short.height


def test_a_histogram_holds_every_value() -> None:
    series = histogram("h", np.array([-5.0, 0.1, 0.1, 0.9, 7.0]), np.linspace(0, 1, 3), "red")
    assert series.y == pytest.approx([0.6, 0.6, 0.4, 0.4])
    assert list(series.x) == [0.0, 0.5, 0.5, 1.0]
    assert histogram("h", np.array([]), np.linspace(0, 1, 3), "red").y == [0.0] * 4
