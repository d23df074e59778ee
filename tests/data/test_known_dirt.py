"""Known dirt of real data sets: dangling judgements, pairs without a score, low grades, empty documents, pools."""

import json
from pathlib import Path
from typing import Any

import pytest

from components.base.errors import UserError
from components.data.layouts import LISTS
from tests.data.test_collection import CORPUS, collection
from tests.data.test_formats import read, rows, write

DANGLING = (
    '{"query_id": "q1", "doc_id": "d1"}\n{"query_id": "q1", "doc_id": "gone"}\n{"query_id": "q9", "doc_id": "d2"}\n'
)


def lines(path: Path, *values: dict[str, Any]) -> Path:
    return write(path, "".join(json.dumps(one) + "\n" for one in values))


def test_dangling_judgements_are_refused_or_skipped_and_counted(tmp_path: Path) -> None:
    folder = collection(tmp_path / "in", DANGLING)
    with pytest.raises(UserError, match=r"row 2: field doc_id: unknown id 'gone'; add it .*, or set on_missing: skip"):
        read(folder, "collection")
    frame, counts = read(folder, "collection", on_missing="skip")
    assert frame.select("query_id", "doc_id").rows() == [("q1", "d1"), (None, "d2"), (None, "d3")]
    assert (counts.read, counts.dropped["missing"]) == (5, 2)


def test_a_pair_without_a_score_is_refused_or_skipped(tmp_path: Path) -> None:
    file = lines(tmp_path / "a.jsonl", *({"query": "q", "document": one, "score": one_} for one, one_ in SCORED))
    with pytest.raises(UserError, match=r"row 2: field score: empty; .* set on_missing: skip"):
        read(file, "jsonl")
    frame, counts = read(file, "jsonl", on_missing="skip")
    assert (frame["document"].to_list(), counts.dropped["missing"]) == (["a", "d"], 2)


SCORED = (("a", 2), ("b", None), ("c", float("nan")), ("d", 0))


def test_a_grade_below_the_least_is_judged_and_not_relevant(tmp_path: Path) -> None:
    grades = {"d1": 2, "d2": 1, "d3": -1}
    judged = [{"query_id": "q1", "doc_id": name, "score": grade} for name, grade in grades.items()]
    folder = collection(tmp_path / "in", "".join(json.dumps(one) + "\n" for one in judged), CORPUS)
    frame, counts = read(folder, "collection", min_relevance=2)
    assert (frame["score"].to_list(), counts.below) == ([2.0, 0.0, -1.0], 1)
    for values in ({"query": "q", "document": "d"}, {"text1": "a", "text2": "b", "score": 1}):
        with pytest.raises(UserError, match=r"^min_relevance: needs pairs of query and document with a score"):
            read(lines(tmp_path / "a.jsonl", values), "jsonl", min_relevance=2)
    with pytest.raises(UserError, match=r"^min_relevance: needs"):
        read(lines(tmp_path / "a.jsonl", {"query": "q", "pos": ["p"]}), "jsonl", shape=LISTS, min_relevance=2)


def ids(folder: Path, **row: Any) -> Path:
    lines(folder / "corpus.jsonl", {"docid": "1", "text": "one"}, {"docid": "2", "text": "two"})
    lines(folder / "train.jsonl", {"query": "q", "pos_ids": ["1"], "neg_ids": ["2"], **row})
    return folder


def test_ids_that_the_corpus_lacks_are_refused_or_skipped_with_their_scores(tmp_path: Path) -> None:
    folder = ids(tmp_path / "in", pos_ids=["9", "1"], pos_scores=[0.1, 0.8])
    with pytest.raises(UserError, match=r"row 1: field pos_ids\[0\]: unknown id '9'; .* set on_missing: skip"):
        read(folder, "corpus_and_ids")
    frame, counts = read(folder, "corpus_and_ids", on_missing="skip")
    assert frame.select("doc_id", "score", "teacher_score").rows() == [("1", 1.0, 0.8), ("2", 0.0, None)]
    assert counts.dropped["missing"] == 1
    more = folder / "train.jsonl"
    lines(more, {"query": "q", "pos_ids": ["9"], "neg_ids": ["2"]}, {"query": "r", "pos_ids": ["1"]})
    frame, counts = read(folder, "corpus_and_ids", on_missing="skip")  # no positive of the first is left
    assert frame.select("query", "doc_id").rows() == [("r", "1"), (None, "2")]
    assert (counts.read, counts.dropped["missing"]) == (4, 2)
    with pytest.raises(UserError, match=r"in: no row is left of 4 \(2 missing\)"):
        read(ids(folder, pos_ids=["9"]), "corpus_and_ids", on_missing="skip")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"query": None}, "row 1: field query: missing; .* name the file of the queries in `files"),
        ({"pos_ids": "1"}, "row 1: field pos_ids: expected a list of ids"),
        ({"pos_ids": [None]}, r"row 1: field pos_ids\[0\]: empty, expected the id of a document"),
        ({"pos_ids": []}, "row 1: field positives: empty; a query needs a positive"),
    ],
)
def test_rows_with_ids_that_are_malformed(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read(ids(tmp_path / "in", **change), "corpus_and_ids")


def test_a_pool_s_documents_belong_to_no_query_and_are_known_as_the_pairs_are(tmp_path: Path) -> None:
    lines(tmp_path / "in/pairs.jsonl", {"query": "q", "document": "d", "doc_id": "1"})
    lines(tmp_path / "in/pool.jsonl", {"_id": "2", "title": "T", "text": "t"})
    files = {"rows": "pairs.jsonl", "pool": "pool.jsonl"}
    found = rows(tmp_path / "in", "jsonl", files=files)
    assert [(row["query"], row["document"], row["doc_id"]) for row in found] == [("q", "d", "1"), (None, "T t", "2")]
    lines(tmp_path / "in/pairs.jsonl", {"query": "q", "document": "d"})
    assert "doc_id" not in rows(tmp_path / "in", "jsonl", files=files)[0]
    lines(tmp_path / "in/pairs.jsonl", {"query": "q", "document": "d", "doc_id": "1"})
    lines(tmp_path / "in/pool.jsonl", {"text": "t"})
    with pytest.raises(UserError, match="row 1: field doc_id: missing, and the documents of the pairs have ids"):
        read(tmp_path / "in", "jsonl", files=files)
    with pytest.raises(UserError, match=r"^files\.pool: 'gone\.jsonl' is not a file of the source \(pairs.jsonl, pool"):
        read(tmp_path / "in", "jsonl", files={**files, "pool": "gone.jsonl"})


def test_triples_of_ids_without_a_header_are_joined_with_their_texts(tmp_path: Path) -> None:
    write(tmp_path / "in/collection.tsv", "10\tone\n11\ttwo\n12\tthree\n")
    write(tmp_path / "in/queries.tsv", "1\twhere\n")
    write(tmp_path / "in/qidpidtriples.train.tsv", "1\t10\t11\n")
    write(tmp_path / "in/README.md", "x")
    columns = {"rows": ["query_id", "positive_id", "negative_id"]}
    frame, counts = read(tmp_path / "in", "corpus_and_ids", columns=columns)
    assert frame.select("query", "document", "doc_id", "score").rows() == [
        ("where", "one", "10", 1.0),
        ("where", "two", "11", 0.0),
        (None, "three", "12", None),
    ]
    assert (counts.read, list(counts.not_read)) == (3, [])


def test_judgements_of_several_splits_state_them(tmp_path: Path) -> None:
    lines(tmp_path / "in/corpus.jsonl", *({"_id": str(n), "text": f"text {n}"} for n in range(3)))
    lines(tmp_path / "in/queries.jsonl", *({"_id": str(n), "text": f"query {n}"} for n in range(3)))
    for number, split in enumerate(("train", "dev", "test")):
        write(tmp_path / f"in/qrels/{split}.tsv", f"query-id\tcorpus-id\tscore\n{number}\t{number}\t1\n")
    found = {row["query_id"]: row["split"] for row in rows(tmp_path / "in", "beir")}
    assert found == {"0": "train", "1": "dev", "2": "test"}
    for split in ("train", "dev"):
        (tmp_path / f"in/qrels/{split}.tsv").unlink()
    assert [row["split"] for row in rows(tmp_path / "in", "beir")] == [None, None, None]


def test_a_folder_of_another_collection_is_named(tmp_path: Path) -> None:
    lines(tmp_path / "in/corpus.jsonl", {"_id": "1", "text": "t"})
    lines(tmp_path / "in/queries.jsonl", {"_id": "1", "text": "q"})
    write(tmp_path / "in/qrels/test.tsv", "query-id\tcorpus-id\tscore\n1\t1\t1\n")
    with pytest.raises(UserError, match=r"in: no qrels\.jsonl or .*; collection needs qrels .*: set format: beir"):
        read(tmp_path / "in", "collection")


def test_parts_and_columns_may_be_stated(tmp_path: Path) -> None:
    write(tmp_path / "in/docs.tsv", "d1\thttp://x\tTowns\tThe town.\n")
    write(tmp_path / "in/topics.txt", "1\twhere\n")
    write(tmp_path / "in/judged.qrel", "1\tQ0\td1\t1\n")
    stated = {
        "files": {"queries": "topics.txt", "qrels": "judged.qrel"},
        "columns": {"corpus": ["doc_id", "url", "title", "text"]},
    }
    with pytest.raises(UserError, match=r"judged\.qrel: its ending tells no kind of file"):
        read(tmp_path / "in", "trec", **stated)
    (tmp_path / "in/judged.qrel").rename(tmp_path / "in/judged.txt")
    stated["files"]["qrels"] = "judged.txt"
    frame, counts = read(tmp_path / "in", "trec", **stated)
    assert frame.select("query", "document", "score").rows() == [("where", "Towns The town.", 1.0)]
    assert list(counts.not_read) == ["url", "iteration"]
    with pytest.raises(UserError, match=r"docs\.tsv: row 1: 4 cells, 2 columns .* set the source's `columns`"):
        read(tmp_path / "in", "trec", files=stated["files"])


def test_the_whole_of_a_source_that_its_rules_leave_out_is_told_with_the_numbers(tmp_path: Path) -> None:
    file = lines(tmp_path / "a.jsonl", {"query": "q", "document": ""})
    with pytest.raises(UserError, match=r"a\.jsonl: no row is left of 1 \(1 empty\); correct the file"):
        read(file, "jsonl", drop_empty=True)
