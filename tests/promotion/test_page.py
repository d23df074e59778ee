"""The page of a verdict."""

from pathlib import Path

from components.promotion.gate import decide
from components.promotion.page import gate_page
from components.statistics.paired import read_evaluation
from tests.evaluation.samples import example_values, write_evaluation
from tests.page.outline import Outline


def test_the_page_gives_verdict_and_reasons(tmp_path: Path) -> None:
    models = {"trained": example_values(0.0), "teacher": example_values(0.02)}
    folder = write_evaluation(tmp_path / "evaluation", models)
    verdict = decide(read_evaluation(folder, "trained"), read_evaluation(folder, "teacher"))
    page = gate_page(verdict)
    outline = Outline(page)
    assert outline.outside == []
    assert outline.titles == ["Means", "Differences by task", "Second view: other tasks", "Margins"]
    assert "<strong>hold</strong>" in page
    assert all(reason.split(" points")[0] in page for reason in verdict.reasons)
