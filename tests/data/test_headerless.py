"""Tables without a header, and files of ids: `foundry data inspect` takes no id, label or grade for a text."""

from pathlib import Path
from typing import Any

import pytest

from components.base.errors import UserError
from components.data.inspection import inspect_path
from tests.data.test_formats import write

COLLECTION = "".join(f"{n}\tThe passage number {n}.\n" for n in range(20))
QUERIES = "".join(f"{n}\twhat is number {n}\n" for n in range(5))


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("where is the town\tIt lies here.\n", {"format": "tsv", "columns": {"rows": ["query", "document"]}}),
        (
            "where is the town\tIt lies here.\t1\nwhere is it\tThere.\t0\n",
            {"format": "tsv", "columns": {"rows": ["query", "document", "score"]}},
        ),
        (
            "where is the town\tIt lies here.\tNo.\n",
            {"format": "sentence_transformers", "columns": {"rows": ["query", "positive", "negative"]}},
        ),
    ],
)
def test_pairs_triples_and_graded_pairs(tmp_path: Path, text: str, settings: dict[str, Any]) -> None:
    finding = inspect_path(write(tmp_path / "a.tsv", text))
    assert (finding.problem, finding.settings) == ("", settings)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (COLLECTION, r"its first line \(0, The passage number 0\.\) has an id, a label or a grade beside a text"),
        ("a film that I like\t1\n", "state the columns, as in `columns: {rows: "),
        ("0\t0\t9\n1\t2\t3\n", "ids alone: put the file beside its corpus and queries"),
        ("D15\tthe first of the documents\n", "has an id, a label or a grade beside a text, and no header"),
    ],
)
def test_numbers_and_ids_are_no_texts(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        inspect_path(write(tmp_path / "a.tsv", text))


@pytest.mark.parametrize(("cells", "scores"), [(3, {0.0, 1.0}), (2, {1.0})])
def test_ms_marco_s_files_of_ids_have_no_header(tmp_path: Path, cells: int, scores: set[float]) -> None:
    write(tmp_path / "in/collection.tsv", COLLECTION)
    write(tmp_path / "in/queries.train.tsv", QUERIES)
    rows = "".join("\t".join(str(one) for one in (n, n, n + 10)[:cells]) + "\n" for n in range(5))
    write(tmp_path / "in/qidpidtriples.train.tsv", rows)
    finding = inspect_path(tmp_path / "in")
    assert finding.settings == {
        "format": "corpus_and_ids",
        "columns": {"rows": ["query_id", "positive_id", "negative_id"][:cells]},
    }
    assert (len(finding.rows), set(finding.rows["score"].drop_nulls())) == (20, scores)


def test_the_files_of_a_collection_are_never_read_as_pairs(tmp_path: Path) -> None:
    write(tmp_path / "in/collection.tsv", COLLECTION)
    write(tmp_path / "in/queries.tsv", QUERIES)
    write(tmp_path / "in/train.tsv", "1\t99\n")
    assert "unknown id '99'" in inspect_path(tmp_path / "in").problem
