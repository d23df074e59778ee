"""Rules of CONTRIBUTING.md that no other tool checks."""

import pytest

from tests.samples import ROOT

FOLDERS = ("components", "flows", "infra", "benchmarks", "examples", "tests")


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_python_file_is_over_350_lines(folder: str) -> None:
    lines = {path: path.read_text(encoding="utf-8").count("\n") for path in (ROOT / folder).rglob("*.py")}
    assert lines
    assert {str(path.relative_to(ROOT)): number for path, number in lines.items() if number > 350} == {}
