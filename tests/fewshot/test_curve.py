"""The picture of the sweep: every prompt that was tried has its bar, and only the choice its ring."""

import xml.etree.ElementTree as ElementTree

from components.fewshot.curve import curve_svg

ROWS = [
    {"task": "a<b", "measure": "accuracy", "strategy": strategy, "shots": shots, "score": score, "standard_error": 0.02}
    for strategy, shots, score in (("none", 0, 0.5), ("diverse", 1, 0.6), ("diverse", 2, 0.7), ("hard", 1, 0.4))
]
SVG = "{http://www.w3.org/2000/svg}"


def test_a_bar_for_every_prompt_a_line_for_every_strategy_a_ring_for_the_choice() -> None:
    page = ElementTree.fromstring(curve_svg(ROWS, {"a<b": ("diverse", 1)}))
    lines = [line.attrib["points"].split() for line in page.iter(f"{SVG}polyline")]
    bars = [line for line in page.iter(f"{SVG}line") if line.attrib["class"].startswith("error")]
    assert len(bars) == len(ROWS)
    assert [len(line) for line in lines] == [1, 3, 2]  # no shots; both strategies start there
    (ring,) = (circle for circle in page.iter(f"{SVG}circle") if circle.attrib["class"] == "ring")
    assert f"{ring.attrib['cx']},{ring.attrib['cy']}" == lines[1][1]
    assert curve_svg(ROWS, {"a<b": ("diverse", 1)}) == curve_svg(ROWS, {"a<b": ("diverse", 1)})


def test_no_task_is_a_picture_too() -> None:
    ElementTree.fromstring(curve_svg([], {}))
