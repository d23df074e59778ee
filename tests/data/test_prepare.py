"""prepare: contracts, held-out evaluation data, no text on both sides, the same bytes every time, clear errors."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from components.base.errors import UserError
from components.base.hashing import content_hash
from components.config import TaskParams, parse_config
from components.contracts.tasks import read_tasks
from tests.data.conftest import MakeContext, Rows, local, run_stages, task, write_jsonl
from tests.data.prepared import ANIMALS, PLACES, Outputs, same
from tests.samples import small_parameters


def questions() -> Rows:
    """80 questions on 80 passages, and 10 more questions that share a passage with another."""
    rows = [
        {
            "query": f"where in {place} does the {animal} live",
            "document": f"The {animal} of {place} was counted {n * 7} times in {1900 + n} near river number {n * n}.",
        }
        for n, (animal, place) in enumerate((animal, place) for animal in ANIMALS for place in PLACES)
    ]
    return rows + [{"query": f"how many were there, {n}", "document": rows[n * 8]["document"]} for n in range(10)]


def labelled(count: int = 90) -> Rows:
    return [
        {"text": f"{ANIMALS[n % 10]} note {n * 37} of {PLACES[n % 8]}", "label": f"Kind {n % 3}"} for n in range(count)
    ]


RETRIEVAL = task("pairs", train=40, dev=10, test=15, test_documents=25, dev_documents=14)


@pytest.fixture
def pairs(tmp_path: Path) -> dict[str, Any]:
    return {"pairs": local(write_jsonl(tmp_path / "pairs.jsonl", questions()))}


@pytest.fixture
def labels(tmp_path: Path) -> dict[str, Any]:
    return {"labels": local(write_jsonl(tmp_path / "labels.jsonl", labelled()))}


def test_retrieval_splits_questions_and_passages(
    tmp_path: Path, pairs: dict[str, Any], make_context: MakeContext
) -> None:
    metrics = run_stages(make_context(pairs, {"wild": RETRIEVAL}))
    out = Outputs(tmp_path)
    assert (metrics["wild.train"], metrics["wild.dev"], metrics["wild.test"]) == (40, 10, 15)
    test_corpus, test_queries = out.benchmark("wild.corpus"), out.benchmark("wild.queries")
    assert (len(test_corpus), len(test_queries)) == (25, 15)
    held_out = {same(text) for frame in (test_corpus, test_queries) for text in frame["text"]}
    assert not held_out & out.texts()
    assert set(out.benchmark("wild.qrels")["doc_id"]) <= set(test_corpus["doc_id"])
    splits = dict(out.queries.select("query_id", "split").iter_rows())
    held = dict(out.corpus.select("doc_id", "split").iter_rows())
    for query, document in out.qrels.select("query_id", "doc_id").iter_rows():
        assert held[document] == (None if splits[query] == "train" else "dev")
    assert list(held.values()).count("dev") == 14


def test_tasks_files(pairs: dict[str, Any], make_context: MakeContext, tmp_path: Path) -> None:
    tasks = {"wild": RETRIEVAL, "only-test": task("pairs", test=15), "only-train": task("pairs", train=5)}
    run_stages(make_context(pairs, tasks))
    assert list(read_tasks(tmp_path / "outputs/prepare/tasks.yaml")) == ["wild", "only-train"]
    held_out = read_tasks(tmp_path / "outputs/prepare/benchmark/tasks.yaml")
    assert list(held_out) == ["wild", "only-test"]
    assert (held_out["wild"].licence, held_out["wild"].source) == ("CC0", "pairs")


def test_two_tasks_on_one_source_hold_out_the_same_groups(
    pairs: dict[str, Any], make_context: MakeContext, tmp_path: Path
) -> None:
    metrics = run_stages(
        make_context(pairs, {"wild": task("pairs", train=50, test=15), "again": task("pairs", test=15)})
    )
    out = Outputs(tmp_path)
    assert out.benchmark("wild.queries")["text"].sort().equals(out.benchmark("again.queries")["text"].sort())
    assert metrics["removed_texts"] == 0


def test_texts_of_another_tasks_evaluation_are_removed_and_listed(
    tmp_path: Path, pairs: dict[str, Any], make_context: MakeContext
) -> None:
    copy = local(write_jsonl(tmp_path / "copy.jsonl", questions()))  # another source: other groups are held out
    tasks = {"wild": task("pairs", train=60), "again": task("copy", test=20)}
    metrics = run_stages(make_context({**pairs, "copy": copy}, tasks))
    out = Outputs(tmp_path)
    listed = pl.read_parquet(out.folder / "decontamination.parquet")
    assert len(listed) == metrics["removed_texts"] > 0
    assert listed["matched_id"].str.starts_with("again/").all()
    held_out = {same(text) for table in ("corpus", "queries") for text in out.benchmark(f"again.{table}")["text"]}
    assert not held_out & out.texts()
    assert not set(listed["id"]) & {*out.corpus["doc_id"], *out.queries["query_id"], *out.qrels["doc_id"]}


def test_reranking_lists_the_judged_candidates(tmp_path: Path, make_context: MakeContext) -> None:
    rows = [
        {"query": f"question {n}", "document": f"clause {n} {m}", "score": float(m == 0)}
        for n in range(20)
        for m in range(4)
    ] + [{"query": "all right", "document": "clause x", "score": 1.0}]
    source = {"clauses": local(write_jsonl(tmp_path / "clauses.jsonl", rows))}
    pair_task = task("clauses", kind="pair_classification", test=8)
    run_stages(make_context(source, {"r": task("clauses", kind="reranking", train=10, test=8), "p": pair_task}))
    out = Outputs(tmp_path)
    candidates = out.benchmark("r.candidates")
    asked = set(out.benchmark("r.queries")["text"])
    assert "all right" not in asked
    assert candidates["doc_ids"].list.len().to_list() == [4] * len(asked)
    assert set(candidates["doc_ids"].explode()) == set(out.benchmark("r.corpus")["doc_id"])
    assert len(out.benchmark("r.qrels")) == len(asked)
    found = out.benchmark("p.test")
    assert set(found["text1"]) - {"all right"} == asked
    assert set(found["score"]) == {0.0, 1.0}
    irrelevant = set(out.corpus["doc_id"]) - set(out.qrels["doc_id"])
    assert irrelevant  # judged and not relevant: in the corpus, to be mined


def test_labels_as_positives(tmp_path: Path, labels: dict[str, Any], make_context: MakeContext) -> None:
    sorting = task("labels", kind="classification", positives="label", train=40, dev=8, test=20, fit=12)
    run_stages(make_context(labels, {"sort": sorting}))
    out = Outputs(tmp_path)
    assert out.corpus["text"].to_list() == ["Kind 0", "Kind 1", "Kind 2"]
    assert out.corpus["doc_id"].to_list() == ["sort-label-000-kind-0", "sort-label-001-kind-1", "sort-label-002-kind-2"]
    text_of = dict(out.corpus.select("doc_id", "text").iter_rows())
    label_of = dict(out.queries.select("query_id", "label").iter_rows())
    assert all(
        text_of[document] == label_of[query] for query, document in out.qrels.select("query_id", "doc_id").iter_rows()
    )
    assert (len(out.benchmark("sort.test")), len(out.benchmark("sort.train"))) == (20, 12)
    assert not {same(text) for text in out.benchmark("sort.test")["text"]} & out.texts()


def test_examples_as_positives(tmp_path: Path, labels: dict[str, Any], make_context: MakeContext) -> None:
    sorting = task("labels", kind="clustering", positives="example", symmetric=True, train=40, dev=8, test=20)
    run_stages(make_context(labels, {"group": sorting}))
    out = Outputs(tmp_path)
    train = out.queries.filter(pl.col("split") == "train")
    assert sorted(train["text"]) == sorted(out.corpus["text"])
    text = dict(out.corpus.select("doc_id", "text").iter_rows())
    label = dict(out.corpus.select("doc_id", "label").iter_rows())
    about = {row["query_id"]: row for row in out.queries.iter_rows(named=True)}
    for query, document in out.qrels.select("query_id", "doc_id").iter_rows():
        assert about[query]["label"] == label[document]
        assert about[query]["text"] != text[document]
    assert out.benchmark("group.test").columns == ["text", "label"]


def test_graded_pairs_and_summaries(tmp_path: Path, make_context: MakeContext) -> None:
    graded = [{"text1": f"left {n}", "text2": f"right {n}", "score": n % 5} for n in range(30)]
    told = [{"text": f"news {n}", "correct": f"good {n}", "incorrect": f"bad {n}"} for n in range(9)]
    sources = {
        "graded": local(write_jsonl(tmp_path / "graded.jsonl", graded)),
        "told": local(write_jsonl(tmp_path / "told.jsonl", told)),
    }
    tasks = {
        "alike": task("graded", kind="sts", symmetric=True, positive_score=4, train=20, test=10),
        "short": task("told", kind="summarization", test=9),
    }
    run_stages(make_context(sources, tasks))
    out = Outputs(tmp_path)
    test = out.benchmark("alike.test")
    assert len(test) == 10
    scores = {row["text1"]: row["score"] for row in graded}
    assert all(scores[text] == score for text, score in test.select("text1", "score").iter_rows())
    assert set(out.queries["text"]) <= {f"{side} {n}" for n in range(30) if n % 5 == 4 for side in ("left", "right")}
    text = {
        **dict(out.corpus.select("doc_id", "text").iter_rows()),
        **dict(out.queries.select("query_id", "text").iter_rows()),
    }
    learned = {(text[query], text[document]) for query, document in out.qrels.select("query_id", "doc_id").iter_rows()}
    assert learned
    assert learned == {(right, left) for left, right in learned}  # symmetric: both directions
    row = out.benchmark("short.test").row(0, named=True)
    assert row["machine_summaries"] == [row["text"].replace("news", "good"), row["text"].replace("news", "bad")]
    assert (row["relevance"], row["human_summary"]) == ([1.0, 0.0], row["text"])


def test_a_stated_split_is_kept(tmp_path: Path, make_context: MakeContext) -> None:
    rows = [{**row, "split": "test" if n % 4 == 0 else "train"} for n, row in enumerate(questions()[:80])]
    source = {"pairs": local(write_jsonl(tmp_path / "pairs.jsonl", rows))}
    run_stages(make_context(source, {"wild": task("pairs", train=99, test=99)}))
    stated = {row["query"]: row["split"] for row in rows}
    out = Outputs(tmp_path)
    assert {stated[text] for text in out.benchmark("wild.queries")["text"]} == {"test"}
    assert {stated[text] for text in out.queries["text"]} == {"train"}


def test_a_collection_keeps_its_ids_and_its_other_documents(tmp_path: Path, make_context: MakeContext) -> None:
    folder = tmp_path / "mine"
    write_jsonl(folder / "corpus.jsonl", [{"doc_id": f"D{n}", "text": f"document {n}"} for n in range(12)])
    write_jsonl(folder / "queries.jsonl", [{"query_id": f"Q{n}", "text": f"query {n}"} for n in range(6)])
    write_jsonl(folder / "qrels.jsonl", [{"query_id": f"Q{n}", "doc_id": f"D{n}", "relevance": 2} for n in range(6)])
    run_stages(make_context({"mine": local(folder, "collection")}, {"own": task("mine", train=4, test=2)}))
    out = Outputs(tmp_path)
    assert set(out.corpus["doc_id"]) >= {f"own-D{n}" for n in range(6, 12)}
    assert len(out.corpus) == 10
    assert all(
        query.replace("Q", "D") == document for query, document in out.qrels.select("query_id", "doc_id").iter_rows()
    )
    assert set(out.qrels["relevance"]) == {2.0}


def test_long_texts_are_cut(tmp_path: Path, pairs: dict[str, Any], make_context: MakeContext) -> None:
    run_stages(make_context(pairs, {"wild": {**RETRIEVAL, "max_words": 6}}))
    out = Outputs(tmp_path)
    assert max(len(text.split()) for text in [*out.corpus["text"], *out.benchmark("wild.corpus")["text"]]) == 6


@pytest.mark.slow
def test_same_bytes_every_time_and_other_bytes_with_another_seed(
    tmp_path: Path, pairs: dict[str, Any], labels: dict[str, Any], make_context: MakeContext
) -> None:
    sorting = task("labels", kind="clustering", positives="example", train=40, dev=8, test=20)
    context = make_context({**pairs, **labels}, {"wild": RETRIEVAL, "group": sorting})
    hashes = []
    for seed in (7, 7, 8):
        run_stages(replace(context, config=context.config.model_copy(update={"seed": seed})))
        hashes.append(content_hash(tmp_path / "outputs"))
    assert hashes[0] == hashes[1] != hashes[2]


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (task("nowhere", train=1), r"^prepare\.tasks\.t\.source: unknown source 'nowhere'; declare it under fetch"),
        (
            task("pairs", kind="clustering", test=1),
            r"^prepare\.tasks\.t: source pairs: holds pairs; the evaluation of a clust",
        ),
        (task("labels", test=1), r"^prepare\.tasks\.t: source labels: has text, label; kind retrieval needs query and"),
        (
            task("labels", kind="clustering", train=1),
            r"tasks\.t: source labels: holds labels, no documents; set positives",
        ),
        (task("pairs", train=9, test=99), None),
        (task("pairs", train=99, dev=9), None),
    ],
)
def test_what_cannot_be_prepared(
    wanted: dict[str, Any],
    message: str | None,
    pairs: dict[str, Any],
    labels: dict[str, Any],
    make_context: MakeContext,
) -> None:
    context = make_context({**pairs, **labels}, {"t": wanted})
    if message is None:
        assert run_stages(context)["t.train"] > 0
        return
    with pytest.raises(UserError, match=message) as caught:
        run_stages(context)
    assert "\n" not in str(caught.value)


def test_a_source_with_test_rows_only_has_no_train_split(tmp_path: Path, make_context: MakeContext) -> None:
    rows = [{**row, "split": "test"} for row in questions()]
    context = make_context(
        {"pairs": local(write_jsonl(tmp_path / "pairs.jsonl", rows))}, {"wild": task("pairs", train=5, test=10)}
    )
    with pytest.raises(
        UserError, match=r"wild\.train: 5 requested, and source 'pairs' gives none: its column split states 90 for test"
    ):
        run_stages(context)


def test_one_id_with_two_texts(tmp_path: Path, make_context: MakeContext) -> None:
    rows = [{"query": "a", "document": "b", "doc_id": "same"}, {"query": "c", "document": "d", "doc_id": "same"}]
    context = make_context({"pairs": local(write_jsonl(tmp_path / "p.jsonl", rows))}, {"wild": task("pairs", train=2)})
    with pytest.raises(UserError, match=r"^prepare\.tasks\.wild: source pairs: duplicate id 'same' with two texts"):
        run_stages(context)


def test_manifest_tells_what_is_in_the_domain_of_what(
    tmp_path: Path, pairs: dict[str, Any], labels: dict[str, Any], make_context: MakeContext
) -> None:
    tasks = {
        "wild": task("pairs", train=30, test=15, in_domain=["SomeRetrieval"]),
        "sort": task("labels", kind="classification", positives="label", train=10, in_domain=["SomeClassification"]),
        "unseen": task("labels", kind="clustering", test=20),
    }
    run_stages(make_context({**pairs, **labels}, tasks))
    found = json.loads((tmp_path / "outputs" / "prepare" / "manifest.json").read_text())
    assert found["in_domain"] == {
        "SomeClassification": {"training_tasks": ["sort"], "share": 0.25},
        "SomeRetrieval": {"training_tasks": ["wild"], "share": 0.75},
        "unseen": {"training_tasks": ["sort"], "share": 0.25},
        "wild": {"training_tasks": ["wild"], "share": 0.75},
    }
    assert found["tasks"]["wild"]["licence"] == "CC0"
    assert found["tasks"]["wild"]["train_queries"] == 30


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (task("x", positives="label"), "positives: label needs labels, and retrieval has none; set document"),
        (task("x", fit=3), "fit has no effect on retrieval, it belongs to classification; remove it"),
        (task("x", kind="sts", test_documents=3), "test_documents has no effect on sts"),
        (task("x", kind="clustering", positive_score=3), "positive_score has no effect on clustering"),
    ],
)
def test_settings_that_the_kind_does_not_read(wanted: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TaskParams.model_validate(wanted)


def test_a_task_on_an_unknown_source_is_refused_with_the_parameters() -> None:
    raw = small_parameters(**{"prepare.tasks.boolq.source": "nowhere"})
    with pytest.raises(
        UserError, match=r"prepare\.tasks\.boolq\.source: unknown source 'nowhere'; fetch\.sources has boolq"
    ):
        parse_config(raw, "params.yaml")
