"""The page: complete, self-contained, escaped, reproducible, and content with fewer tables."""

import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from components.base.errors import UserError
from components.evaluation.report import write_report
from components.evaluation.standing import public_scores
from components.statistics.paired import read_evaluation
from tests.evaluation.samples import example_values, write_evaluation, write_extras
from tests.page.outline import Outline

EVIL = "<script>alert('x')</script> & \"quotes\""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    models = {"base": example_values(-0.04), "trained": example_values(0.0), "teacher": example_values(0.02)}
    return write_evaluation(tmp_path / "evaluation", models)


def page_of(folder: Path, training: list[str] | None = None) -> str:
    write_report(folder, training)
    return (folder / "report.html").read_text(encoding="utf-8")


def test_everything_there(folder: Path) -> None:
    write_extras(folder)
    outline = Outline(page_of(folder))
    expected = ["Headline", "Categories", "Differences by task", "Scores by task", "Cost", "Worst queries"]
    assert outline.titles == expected
    assert outline.outside == []
    assert outline.open == []


def test_asks_nothing_of_the_network(folder: Path) -> None:
    write_extras(folder)
    page = page_of(folder)
    assert not re.search(r"https?://|url\(|@import", page)
    assert len(page) < 100_000


def test_texts_are_escaped(tmp_path: Path) -> None:
    values = {f"<b>{task}</b>": found for task, found in example_values(0.0).items()}
    categories = {task: "<i>Kind</i>" for task in values}
    models = {"base": values, "trained": {task: found + 0.01 for task, found in values.items()}}
    folder = write_evaluation(tmp_path / "evil", models, categories)
    write_extras(folder, EVIL)
    page = page_of(folder)
    assert "<script" not in page
    assert "<b>" not in page
    assert "<i>" not in page
    assert "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &amp; &#34;quotes&#34;" in page


def test_same_tables_same_bytes(folder: Path) -> None:
    write_extras(folder)
    first = {file: file.read_bytes() for file in _written(folder)}
    assert first == {file: file.read_bytes() for file in _written(folder)}
    assert {file.name for file in first} == {"report.html", "tasks.csv", "differences.csv"}


def _written(folder: Path) -> list[Path]:
    write_report(folder)
    return [folder / "report.html", *sorted((folder / "plots").iterdir())]


def test_one_model_and_no_extras_still_make_a_page(tmp_path: Path) -> None:
    folder = write_evaluation(tmp_path / "alone", {"trained": example_values(0.0)})
    assert Outline(page_of(folder)).titles == ["Headline", "Categories", "Scores by task"]
    assert not (folder / "plots" / "differences.csv").exists()


def test_production_is_what_the_candidate_is_compared_with(folder: Path) -> None:
    assert "trained minus base" in page_of(folder)
    models = {"base": example_values(-0.04), "trained": example_values(0.0), "production": example_values(-0.01)}
    write_evaluation(folder, models)
    assert "trained minus production" in page_of(folder)
    rows = pl.read_csv(folder / "plots" / "differences.csv")
    ours, theirs = read_evaluation(folder, "trained"), read_evaluation(folder, "production")
    for task, difference, lower, upper in rows.select("task", "difference", "lower", "upper").iter_rows():
        assert difference == pytest.approx(ours.scores[task] - theirs.scores[task])
        assert lower < difference < upper


def test_a_model_without_some_task_has_no_means(folder: Path) -> None:
    scores = pl.read_parquet(folder / "scores.parquet")
    gone = (pl.col("model") == "teacher") & (pl.col("task") == "Facts")
    scores.filter(~gone).write_parquet(folder / "scores.parquet")
    row = page_of(folder).split('class="key green"></span>teacher</td>')[1].split("</tr>")[0]
    assert re.findall(r"<td[^>]*>([^<]*)</td>", row) == ["–"] * 5


def test_public_models_and_ranks_only_for_their_benchmark(folder: Path, tmp_path: Path) -> None:
    assert "NV-Embed-v2" not in page_of(folder)
    table = public_scores().filter(pl.col("model") == "annamodels/LGAI-Embedding-Preview")
    values = {task: np.array([score - 0.01, score + 0.01]) for task, score in table.select("task", "score").iter_rows()}
    categories = dict(table.select("task", "task_type").iter_rows())
    page = page_of(write_evaluation(tmp_path / "whole", {"trained": values}, categories), ["STS12", "HotpotQA"])
    assert "NV-Embed-v2" in page
    assert "among 317 public models" in page
    assert "2 of 41 tasks are in-domain" in page
    assert "(HotpotQAHardNegatives, STS12)" in page


def test_cost_is_summed_over_tasks_and_savings_are_split(folder: Path) -> None:
    write_extras(folder)
    row = page_of(folder).split("saved by de-duplication")[1].split("<td>trained</td>")[1].split("</tr>")[0]
    assert re.findall(r"<td>([^<]*)</td>", row) == ["481,380", "241,380", "159,064", "80,936", "5.95"]


def test_a_table_without_its_columns_is_named(folder: Path) -> None:
    pl.DataFrame({"model": ["trained"], "task": ["Facts"]}).write_parquet(folder / "worst_queries.parquet")
    with pytest.raises(UserError, match=r"worst_queries\.parquet: field query_id is missing"):
        write_report(folder)
