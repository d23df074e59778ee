"""The documents name code that exists."""

import re
from itertools import pairwise, product

import pytest
import yaml

from tests.samples import ROOT

PAGES = [*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
CODE = re.compile(r"`((?:components|flows|infra|tests|benchmarks|examples|recipes)/[\w./-]*)`")
MADE = ("infra/secrets/",)  # made by a command, never committed
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
# `name` (`path`), also with a line break between them, and `name` in `path`
NAMED = re.compile(r"`([A-Za-z_.]+)`(?:\s+in)?\s+\(?`((?:components|flows)/[\w/]+\.py)`")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_path_and_link_of_a_page_exists(page):
    text = page.read_text(encoding="utf-8")
    paths = [ROOT / path for path in CODE.findall(text) if not path.startswith(MADE)]
    paths += [page.parent / link for link in LINK.findall(text)]
    assert [str(path) for path in paths if not path.exists()] == []


def test_the_walks_name_functions_that_are_where_they_say():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = NAMED.findall(text)
    assert len(named) > 15
    lost = []
    for name, path in named:
        code = (ROOT / path).read_text(encoding="utf-8")
        if not re.search(rf"^(?:    )?(?:def|class) {re.escape(name.rpartition('.')[2])}\b", code, re.MULTILINE):
            lost.append(f"{name} in {path}")
    assert lost == []


def test_the_picture_of_the_pipeline_has_every_edge_of_the_dag():
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    edges = {
        (dependency.removeprefix("outputs/"), name)
        for name, stage in stages.items()
        for dependency in stage["deps"]
        if dependency.startswith("outputs/")
    }
    picture = re.search(
        r"```mermaid\nflowchart LR\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL
    )
    assert picture is not None
    drawn = set()
    for line in picture[1].splitlines():
        nodes = [[name.strip() for name in part.split("&")] for part in line.split("-->")]
        drawn |= {edge for left, right in pairwise(nodes) for edge in product(left, right)}
    assert drawn == edges
