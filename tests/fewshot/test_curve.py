"""The picture of the sweep: every prompt that was tried has its bar, and only the choice its ring."""

import xml.etree.ElementTree as ElementTree

from components.fewshot.curve import curve_svg

ROWS = [
    {"task": "a<b", "strategy": strategy, "shots": shots, "score": score, "standard_error": 0.02}
    for strategy, shots, score in (("none", 0, 0.5), ("diverse", 1, 0.6), ("diverse", 2, 0.7), ("hard", 1, 0.4))
]
SVG = "{http://www.w3.org/2000/svg}"


def test_a_bar_for_every_prompt_a_line_for_every_strategy_a_ring_for_the_choice() -> None:
    page = ElementTree.fromstring(curve_svg(ROWS, {"a<b": ("diverse", 1)}))
    lines = [line.attrib["points"].split() for line in page.iter(f"{SVG}polyline")]
    assert len(list(page.iter(f"{SVG}path"))) == len(ROWS)
    assert [len(line) for line in lines] == [3, 2]  # both start at no shots
    (ring,) = page.iter(f"{SVG}circle")
    assert f"{ring.attrib['cx']},{ring.attrib['cy']}" == lines[0][1]
