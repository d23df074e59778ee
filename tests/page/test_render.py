"""Pages share one shell and one palette: no template of a room states a colour of its own."""

import re
from pathlib import Path

import pytest

from components.page.render import render_page
from tests.samples import ROOT

TEMPLATES = sorted(ROOT.glob("components/*/templates/*.html.jinja"))
PAGES = [path for path in TEMPLATES if path.parent.parent.name != "page"]
PALETTE = (ROOT / "components" / "page" / "templates" / "plots.css").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.parent.parent.name)
def test_a_page_extends_the_base_and_has_no_palette_of_its_own(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.startswith('{% extends "base.html.jinja" %}')
    assert not re.search(r"#[0-9a-f]{3,8}\b|rgb\(|prefers-color-scheme", text)
    used = set(re.findall(r"var\((--[\w-]+)\)", text))
    assert used <= set(re.findall(r"(--[\w-]+):", PALETTE))


def test_dark_and_light_name_the_same_colours() -> None:
    light, dark = PALETTE.split("@media")[0], PALETTE.split("@media")[1].split("}\n}")[0]
    names = re.findall(r"(--[\w-]+):", light)
    assert names == re.findall(r"(--[\w-]+):", dark)
    assert len(names) == 15


def test_texts_are_escaped_and_a_missing_value_is_an_error() -> None:
    page = render_page("components.teacher", "score.html.jinja", title="<b>", rows=[], on="dev & test")
    assert page.count("&lt;b&gt;") == 2
    assert "dev &amp; test" in page
    with pytest.raises(Exception, match="'on' is undefined"):
        render_page("components.teacher", "score.html.jinja", title="t", rows=[])


def test_every_room_with_templates_ships_them() -> None:
    shipped = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for room in {path.parent.parent.name for path in TEMPLATES}:
        assert re.search(rf'"components\.{room}" = \[.*"templates/\*"', shipped), room
