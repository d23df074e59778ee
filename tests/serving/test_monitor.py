"""The monitor with tiny models: queries like those of training pass, others are an alert on the page."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from components.base.errors import UserError
from components.contracts.tables import QUERIES, write_table
from components.serving import monitor
from components.serving.ask import trained_model
from components.serving.monitor import Limits, monitor_page, watch
from components.serving.sample import FOLDER, QuerySample
from tests.teacher.conftest import make_dense_teacher

WORDS = ("amber", "birch", "cedar", "delta", "ember", "fjord")


@pytest.fixture
def root(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with queries of its task boolq, a corpus, a dense teacher, and its trained model as production."""
    monkeypatch.setattr(monitor, "FEWEST", 5)
    monkeypatch.setattr(monitor, "registered_model", lambda root, version: trained_model(root / "outputs"))
    rows = [
        (f"q{i}", f"is the {WORDS[i % 6]} near the {WORDS[i // 6 % 6]}", "boolq", "dev" if i % 3 else "train", None)
        for i in range(36)
    ]
    columns = ["query_id", "text", "task", "split", "label"]
    table = pl.DataFrame(rows, schema=columns, orient="row").with_columns(pl.col("label").cast(pl.String))
    table = table.sort("task", "query_id").with_row_index("row").with_columns(pl.col("row").cast(pl.UInt32))
    write_table(table, checkout / "outputs/prepare/queries.parquet", QUERIES)
    corpus = pl.DataFrame({"doc_id": [str(i) for i in range(6)], "text": [f"the {word} is near" for word in WORDS]})
    corpus.write_parquet(checkout / "outputs/prepare/benchmark/boolq.corpus.parquet")
    make_dense_teacher(checkout / "outputs/fetch/models/dense_teacher")
    return checkout


@pytest.mark.slow
def test_no_sample_and_no_queries_name_the_cure(root: Path) -> None:
    with pytest.raises(UserError, match="turn the sample on"):
        watch(root, "production", 30, Limits())


@pytest.mark.slow
def test_other_queries_than_those_of_training_are_an_alert(root: Path) -> None:
    sample = QuerySample(root / FOLDER, share=1.0)
    sample.note("boolq", [f"is the {a} near the {b}" for a in WORDS for b in WORDS[:2]])
    sample.note("unknown", ["what"] * 3)
    report = watch(root, "production", 30, Limits())
    [seen] = report.tasks
    assert (seen.task, seen.served, report.alerts) == ("boolq", 12, [])
    assert "unknown" in report.left_out
    assert seen.agreement.served == pytest.approx(seen.agreement.dev, abs=0.2)

    sample.note("boolq", [f"{'0 1 2 3 ' * 5}<b>{number}</b> please ann@example.com" for number in range(30)])
    report = watch(root, "production", 30, Limits())
    assert any("novel" in alert for alert in report.alerts), report.lines()
    page = monitor_page(report, Limits())
    assert "&lt;b&gt;" in page
    assert "<b>" not in page
    assert "ann@example.com" not in page
    assert np.isfinite(report.tasks[0].novelty.centroid)
