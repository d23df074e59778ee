"""Columns that may be grades: what would learn a wrong pair as a right one is refused, and both cures cure."""

import json
from pathlib import Path
from typing import Any

import pytest

from components.base.errors import UserError
from tests.data.test_formats import read, rows, write

PAIR = {"query": "q", "document": "d"}
BOTH = {"query": "query", "document": "document"}
SENTENCES = {"sentence1": "a", "sentence2": "b"}


def lines(path: Path, *values: dict[str, Any]) -> Path:
    return write(path, "".join(json.dumps(one) + "\n" for one in values))


@pytest.mark.parametrize("name", ["relevance", "Score", "is_relevant", "grade"])
def test_a_column_with_the_name_of_a_grade_is_not_left_unread(tmp_path: Path, name: str) -> None:
    file = lines(tmp_path / "a.jsonl", {**PAIR, name: 1}, {**PAIR, "document": "e", name: 0})
    message = rf"row 1: field {name}: looks like the grade of a pair, and nothing reads it: set `fields: {{query: query"
    with pytest.raises(UserError, match=message):
        read(file, "jsonl")
    assert [row["score"] for row in rows(file, "jsonl", fields={**BOTH, "score": name})] == [1.0, 0.0]
    assert "score" not in read(file, "jsonl", fields=BOTH)[0].columns


def test_snli_s_own_files_are_not_read_as_right_pairs(tmp_path: Path) -> None:
    file = lines(tmp_path / "a.jsonl", *({**SENTENCES, "gold_label": one} for one in ("entailment", "contradiction")))
    with pytest.raises(UserError, match="field gold_label: looks like the grade of a pair"):
        read(file, "sentence_transformers")
    values = {"score": {"entailment": "1", "neutral": None, "contradiction": "0"}}
    found = rows(file, "sentence_transformers", fields={"score": "gold_label"}, values=values)
    assert [row["score"] for row in found] == [1.0, 0.0]


@pytest.mark.parametrize("labels", [(1, 0), (True, False), ("0", "1"), (1, 1)])
def test_labels_of_pairs_that_are_grades(tmp_path: Path, labels: tuple[Any, ...]) -> None:
    file = lines(tmp_path / "a.jsonl", *({**PAIR, "label": label} for label in labels))
    with pytest.raises(
        UserError, match=r"a\.jsonl: field label: holds .* only, beside query and document, as grades do"
    ):
        read(file, "jsonl")
    assert [row["label"] for row in rows(file, "jsonl", fields={**BOTH, "label": "label"})] == [
        str(one) for one in labels
    ]
    if labels == (1, 0):
        assert [row["score"] for row in rows(file, "jsonl", fields={**BOTH, "score": "label"})] == [1.0, 0.0]


def test_labels_of_pairs_that_are_classes(tmp_path: Path) -> None:
    for labels in ((1, 0, 5), ("a", "b"), (None, None)):
        file = lines(tmp_path / "a.jsonl", *({**PAIR, "label": label} for label in labels))
        assert len(rows(file, "jsonl")) == len(labels)


def test_classes_of_nli_under_the_names_of_sts(tmp_path: Path) -> None:
    file = lines(tmp_path / "a.jsonl", *({**SENTENCES, "label": label} for label in (0, 1, 2)))
    with pytest.raises(
        UserError, match=r"field label: holds 0, 1 and 2 only, as classes of NLI do, .*`values: {score: "
    ):
        read(file, "sentence_transformers")
    assert len(rows(file, "sentence_transformers", fields={"score": "label"})) == 3
    values = {"score": {"0": "1", "1": None, "2": "0"}}
    assert [row["score"] for row in rows(file, "sentence_transformers", values=values)] == [1.0, 0.0]
    file = lines(tmp_path / "a.jsonl", *({**SENTENCES, "label": label} for label in (0, 1)))
    assert [row["score"] for row in rows(file, "sentence_transformers")] == [0.0, 1.0]


def test_a_row_without_a_score_among_graded_ones_is_no_right_pair(tmp_path: Path) -> None:
    file = lines(tmp_path / "a.jsonl", {**PAIR, "score": 0}, {**PAIR, "document": "e"}, {**PAIR, "score": 2})
    with pytest.raises(UserError, match=r"row 2: field score: missing, and row 1 has it; .*, or set on_missing: skip"):
        read(file, "jsonl")
    frame, counts = read(file, "jsonl", on_missing="skip")
    assert (frame["score"].to_list(), counts.dropped["missing"]) == ([0.0, 2.0], 1)
    with pytest.raises(UserError, match=r"row 1: field score: missing, and row 2 has it; .*: correct the file$"):
        read(lines(tmp_path / "a.jsonl", PAIR, {**PAIR, "score": 0}), "jsonl")
    asked = [{"id": str(n), "question": f"q{n}", "answers": [{"text": "a"}]} for n in range(2)]
    del asked[1]["answers"]
    squad = {"version": "1", "data": [{"title": "t", "paragraphs": [{"context": "c", "qas": asked}]}]}
    with pytest.raises(UserError, match="field score: missing, and row 1 has it"):
        read(write(tmp_path / "a.json", json.dumps(squad)), "squad")
