"""Collections: corpus, queries and judgements are joined, and what does not hold together is named."""

from pathlib import Path

import pytest

from components.base.errors import UserError
from tests.data.test_formats import read, rows, write

CORPUS = '{"doc_id": "d1", "text": "one"}\n{"doc_id": "d2", "text": "two"}\n{"doc_id": "d3", "text": "three"}\n'
QUERIES = '{"query_id": "q1", "text": "first?", "split": "train"}\n'


def collection(folder: Path, qrels: str, corpus: str = CORPUS, queries: str = QUERIES) -> Path:
    for name, text in (("corpus", corpus), ("queries", queries), ("qrels", qrels)):
        write(folder / f"{name}.jsonl", text)
    return folder


def test_collection_joins_and_keeps_documents_without_a_query(tmp_path: Path) -> None:
    folder = collection(tmp_path / "in", '{"query_id": "q1", "doc_id": "d2", "relevance": 2}\n')
    found = rows(folder, "collection")
    assert [(row["query_id"], row["doc_id"], row["score"]) for row in found] == [
        ("q1", "d2", 2.0),
        (None, "d1", None),
        (None, "d3", None),
    ]
    assert (found[0]["query"], found[0]["document"], found[0]["split"]) == ("first?", "two", "train")


@pytest.mark.parametrize(
    ("part", "text", "message"),
    [
        ("qrels", '{"query_id": "q1", "doc_id": "d9"}\n', r"qrels\.jsonl: row 1: field doc_id: unknown id 'd9'; "),
        ("qrels", '{"query_id": "q9", "doc_id": "d1"}\n', r"qrels\.jsonl: row 1: field query_id: unknown id 'q9'; "),
        ("corpus", CORPUS + CORPUS, r"corpus\.jsonl: row 4: field doc_id: duplicate id 'd1'; ids must be unique"),
        ("queries", QUERIES + QUERIES, r"queries\.jsonl: row 2: field query_id: duplicate id 'q1'"),
        ("corpus", '{"doc_id": "d1", "text": ""}\n', r"corpus\.jsonl: row 1: field text: empty"),
        ("corpus", '{"text": "one"}\n', r"corpus\.jsonl: row 1: field doc_id: missing; the row has text"),
    ],
)
def test_a_collection_that_does_not_hold_together(tmp_path: Path, part: str, text: str, message: str) -> None:
    parts = {"qrels": '{"query_id": "q1", "doc_id": "d1"}\n', part: text}
    with pytest.raises(UserError, match=message):
        read(collection(tmp_path / "in", **parts), "collection")


def test_a_collection_without_a_part(tmp_path: Path) -> None:
    folder = collection(tmp_path / "in", "")
    (folder / "queries.jsonl").unlink()
    with pytest.raises(UserError, match=r"no queries\.jsonl or queries\.parquet; collection needs queries"):
        read(folder, "collection")


def test_grades_may_be_called_score_and_are_never_guessed(tmp_path: Path) -> None:
    qrels = "".join(
        f'{{"query_id": "q1", "doc_id": "d{n}", "score": {grade}}}\n' for n, grade in ((1, 2), (2, 0), (3, -1))
    )
    assert [row["score"] for row in rows(collection(tmp_path / "in", qrels), "collection")] == [2.0, 0.0, -1.0]
    ids_only = '{"query_id": "q1", "doc_id": "d1"}\n'
    assert rows(collection(tmp_path / "in", ids_only), "collection")[0]["score"] == 1.0
    for row, message in (
        (
            '{"query_id": "q1", "doc_id": "d1", "grade": 0}',
            "row 1: field relevance: missing; the row has query_id, doc_id",
        ),
        ('{"query_id": "q1", "doc_id": "d1", "score": null}', "row 1: field score: empty"),
        ('{"query_id": "q1", "doc_id": "d1", "relevance": NaN}', "row 1: field relevance: empty"),
    ):
        with pytest.raises(UserError, match=message):
            read(collection(tmp_path / "in", row), "collection")


def test_a_title_goes_before_its_text(tmp_path: Path) -> None:
    corpus = '{"doc_id": "d1", "title": "Routers", "text": "Hold it."}\n{"doc_id": "d2", "title": "Only", "text": ""}\n'
    folder = collection(tmp_path / "in", '{"query_id": "q1", "doc_id": "d1"}\n', corpus)
    assert [row["document"] for row in rows(folder, "collection")] == ["Routers Hold it.", "Only"]


def test_drop_empty_leaves_documents_and_queries_out_and_counts(tmp_path: Path) -> None:
    corpus = CORPUS + '{"doc_id": "d4", "text": ""}\n{"doc_id": "d5", "text": null}\n'
    queries = QUERIES + '{"query_id": "q2", "text": " "}\n'
    judged = (("q1", "d1"), ("q1", "d4"), ("q2", "d2"))
    qrels = "".join(f'{{"query_id": "{query}", "doc_id": "{document}"}}\n' for query, document in judged)
    folder = collection(tmp_path / "in", qrels, corpus, queries)
    with pytest.raises(UserError, match=r"corpus\.jsonl: row 4: field text: empty; .*drop_empty: true"):
        read(folder, "collection")
    frame, counts = read(folder, "collection", drop_empty=True)
    assert [(row["query_id"], row["doc_id"]) for row in frame.to_dicts()] == [("q1", "d1"), (None, "d2"), (None, "d3")]
    assert counts.dropped["empty"] == 3  # two judgements and the document that is in none


def test_columns_of_a_collection_may_be_stated_and_no_others(tmp_path: Path) -> None:
    folder = collection(tmp_path / "in", '{"query_id": "q1", "doc_id": "d1", "grade": 3}\n')
    assert rows(folder, "collection", fields={"score": "grade"})[0]["score"] == 3.0
    assert (
        rows(folder, "collection", fields={"score": "grade", "document": ["doc_id", "text"]})[0]["document"] == "d1 one"
    )
    with pytest.raises(
        UserError, match=r"^fields\.relevance: not a column of ours; expected one of doc_id, document, "
    ):
        read(folder, "collection", fields={"relevance": "grade"})
    with pytest.raises(
        UserError, match=r"qrels\.jsonl: row 1: field mark: missing; the row has query_id, doc_id, grade"
    ):
        read(folder, "collection", fields={"score": "mark"})
