"""SVG elements are escaped, and a file of several drawings is well-formed and brings its colours."""

import xml.etree.ElementTree as ElementTree

import pytest
from markupsafe import Markup

from components.page.svg import Drawing, Scale, element, split_words, standalone, ticks

SVG = "{http://www.w3.org/2000/svg}"


def test_texts_and_attributes_are_escaped_and_elements_are_not() -> None:
    inner = element("title", "<b>")
    assert element("text", "a & b", inner, x=1.25, class_='"') == (
        '<text x="1.2" class="&#34;">a &amp; b<title>&lt;b&gt;</title></text>'
    )


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_a_file_of_drawings_is_a_grid_of_titled_panels(count: int) -> None:
    drawings = [Drawing(100, 50, f"a<{number}", Markup("<circle/>")) for number in range(count)]
    page = ElementTree.fromstring(standalone(drawings, columns=3))
    panels = [(panel.attrib["x"], panel.attrib["y"]) for panel in page.iter(f"{SVG}svg") if "x" in panel.attrib]
    assert len(panels) == len(set(panels)) == count
    assert [text.text for text in page.iter(f"{SVG}text")] == [f"a<{number}" for number in range(count)]
    style = page.find(f"{SVG}style")
    assert style is not None
    assert "prefers-color-scheme: dark" in (style.text or "")


def test_ticks_are_round_and_within_the_range() -> None:
    assert ticks(-0.03, 0.26) == [0.0, 0.1, 0.2]
    assert ticks(-3.0, 17.0) == [0.0, 5.0, 10.0, 15.0]
    for low, high in ((0.0, 1.0), (-3.0, 17.0), (0.0, 1e-4), (2.0, 2.0)):
        assert ticks(low, high)
        assert all(low - 1e-9 <= value <= high + 1e-9 for value in ticks(low, high))


def test_a_scale_of_no_width_has_one_coordinate() -> None:
    assert Scale(2.0, 2.0, 0.0, 100.0)(2.0) == 0.0


def test_words() -> None:
    assert [split_words(name) for name in ("PairClassification", "STS", "bbc")] == ["Pair Classification", "STS", "bbc"]
