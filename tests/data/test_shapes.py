"""Shapes of a row: a query with lists of positives and negatives, and the scores its source has for them."""

import json
from pathlib import Path
from typing import Any

import pytest

from components.base.errors import UserError
from tests.data.test_formats import read, rows, write

FLAG = {"query": "q", "pos": ["p1", "p2"], "neg": ["n1", "n2", "n3"], "pos_scores": [1, 1], "type": "normal"}


def test_positives_and_negatives(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", json.dumps({**FLAG, "category": "c"}))
    found = rows(file, "jsonl", shape="positives_and_negatives", negatives=2, fields={"label": "category"})
    assert [(row["document"], row["score"], row["label"]) for row in found] == [
        ("p1", 1.0, "c"),
        ("p2", 1.0, "c"),
        ("n1", 0.0, "c"),
        ("n2", 0.0, "c"),
    ]
    frame, counts = read(file, "jsonl", shape="positives_and_negatives")
    assert (len(frame), counts.read, "label" in frame.columns) == (5, 5, False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pos": []}, "row 1: field pos: empty; a query needs a positive"),
        ({"pos": "p"}, "row 1: field pos: expected a list of texts"),
        ({"pos": None}, "row 1: field pos: empty; a query needs a positive"),
        ({"neg": ["n", 1]}, r"row 1: field neg\[1\]: holds a int, expected text"),
        ({"neg": [" "]}, r"row 1: field neg\[0\]: empty; correct or remove it, or set drop_empty: true"),
        ({"pos": ["p", None]}, r"row 1: field pos\[1\]: empty"),
        ({"query": ""}, "row 1: field query: empty"),
    ],
)
def test_positives_and_negatives_that_are_malformed(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read(write(tmp_path / "a.jsonl", json.dumps({**FLAG, **change})), "jsonl", shape="positives_and_negatives")


def test_empty_positives_and_negatives_are_dropped_and_counted(tmp_path: Path) -> None:
    lines = [
        {**FLAG, "pos": ["p1", None], "neg": ["", "n1", "n2"]},
        {**FLAG, "query": "r", "pos": [None], "neg": ["n3"], "pos_scores": [1]},
        {**FLAG, "query": "s", "pos": []},
        {**FLAG, "query": "t", "pos": ["p2"], "neg": None, "pos_scores": None},
    ]
    file = write(tmp_path / "a.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    frame, counts = read(file, "jsonl", shape="positives_and_negatives", drop_empty=True)
    assert frame.select("query", "document", "score").rows() == [
        ("q", "p1", 1.0),
        ("q", "n1", 0.0),
        ("q", "n2", 0.0),
        ("t", "p2", 1.0),
    ]
    assert counts.dropped["empty"] == 8  # two texts in lists, and two rows without a positive, with their negatives


def test_the_scores_of_the_source_s_teacher_come_along(tmp_path: Path) -> None:
    scored = {"pos_scores": [0.9, 0.8], "neg_scores": [0.3, None, 0.1]}
    lines = [{**FLAG, **scored}, {**FLAG, "query": "r", "pos_scores": [], "neg_scores": None}]
    file = write(tmp_path / "a.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    frame, _ = read(file, "flagembedding", negatives=2)
    assert frame.select("document", "score", "teacher_score").rows() == [
        ("p1", 1.0, 0.9),
        ("p2", 1.0, 0.8),
        ("n1", 0.0, 0.3),
        ("n2", 0.0, None),
        *((document, score, None) for document, score in (("p1", 1.0), ("p2", 1.0), ("n1", 0.0), ("n2", 0.0))),
    ]
    assert (
        "teacher_score" not in read(write(file, json.dumps({"query": "q", "pos": ["p"]})), "flagembedding")[0].columns
    )
    for change, message in (
        ({"neg_scores": [1]}, "row 1: field neg_scores: 1 scores for 3 documents; correct the row"),
        ({"pos_scores": ["high", 1]}, r"row 1: field pos_scores\[0\]: not a number: 'high'"),
        ({"pos_scores": 3}, "row 1: field pos_scores: a int for 2 documents"),
        ({"neg": [], "neg_scores": [1]}, "row 1: field neg_scores: 1 scores for 0 documents"),
    ):
        with pytest.raises(UserError, match=message):
            read(write(file, json.dumps({**FLAG, **change})), "flagembedding")


def test_instructions_of_documents_are_counted_and_a_plain_query_keeps_its_prompt(tmp_path: Path) -> None:
    lines = [
        {"query": ["Find it", "q"], "pos": [["Represent it", "p"]], "neg": [["Represent it", "n"], ["", "m"]]},
        {"query": "r", "pos": ["s"], "neg": []},
    ]
    file = write(tmp_path / "a.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    frame, counts = read(file, "gritlm")
    assert frame.select("query", "document", "instruction").rows() == [
        ("q", "p", "Find it"),
        ("q", "n", "Find it"),
        ("q", "m", "Find it"),
        ("r", "s", None),
    ]
    assert counts.entry()["document_instructions_not_read"] == 2
    assert counts.lines() == ["instructions of 2 documents are not read, only those of queries"]
    prompted = write(file, json.dumps({"query": "r", "pos": ["s"], "neg": [], "prompt": "Find: "}))
    assert read(prompted, "gritlm")[0]["instruction"].to_list() == ["Find:"]
