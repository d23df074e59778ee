"""The mine stage: what is kept, what is refused and why, and what the page shows."""

import math
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest

from components.base.errors import UserError
from components.config import MineParams
from components.contracts.tables import (
    OWN_NEGATIVES,
    QUERIES,
    REJECTIONS,
    TEACHER_SCORES,
    TRIPLETS,
    read_table,
    write_table,
)
from components.mining import mine
from tests.samples import write_prepared_tables

LONG = "the quick brown fox jumps over the lazy dog near the old stone bridge at dawn"
CORPUS_ROWS = [
    ("right", LONG, "facts", None),
    ("right-2", "a second answer about the fox and its bridge", "facts", None),
    ("copy", LONG.upper() + "!", "facts", None),
    ("close", "a fox leaps over some dog", "facts", None),
    ("hard", "dogs sleep near bridges", "facts", None),
    ("easy", "stock prices fell on monday", "facts", None),
    ("own", "Where does the fox jump?", "facts", None),
    ("label-a", "animals", "kinds", "a"),
    ("label-a2", "beasts", "kinds", "a"),
    ("label-b", "finance", "kinds", "b"),
]
QUERY_ROWS = [
    ("q1", "where does the fox jump", "facts", "train", None),
    ("q2", "fox at dawn", "facts", "dev", None),
    ("k1", "cats purr", "kinds", "train", "a"),
]
QREL_ROWS = [("q1", "right", 1.0), ("q1", "right-2", 1.0), ("q2", "right", 1.0), ("k1", "label-a", 1.0)]
SCORES = {
    "q1": {"right": 0.9, "right-2": 0.8, "copy": 0.89, "close": 0.77, "hard": 0.6, "easy": 0.1, "own": 0.7},
    "q2": {"right": 0.2, "hard": 0.5, "easy": 0.3, "close": 0.1},
    "k1": {"label-a": 0.4, "label-a2": 0.3, "label-b": 0.2},
}
# rows by id: both tables are sorted by task, then id
DOCUMENT = {doc: row for row, (_, doc) in enumerate(sorted((task, doc) for doc, _, task, _ in CORPUS_ROWS))}
QUERY = {query: row for row, (_, query) in enumerate(sorted((task, query) for query, _, task, *_ in QUERY_ROWS))}


def write_inputs(outputs: Path) -> None:
    prepared = outputs / "prepare"
    write_prepared_tables(
        prepared,
        pl.DataFrame(CORPUS_ROWS, schema=["doc_id", "text", "task", "label"], orient="row"),
        pl.DataFrame(QUERY_ROWS, schema=["query_id", "text", "task", "split", "label"], orient="row"),
        pl.DataFrame(QREL_ROWS, schema=["query_id", "doc_id", "relevance"], orient="row"),
    )
    rows = [(QUERY[query], DOCUMENT[doc], score) for query, found in SCORES.items() for doc, score in found.items()]
    scores = pl.DataFrame(rows, schema=["query", "document", "reranker_score"], orient="row").sort("query", "document")
    scores = scores.with_columns(fused_score=pl.col("reranker_score"), relevance=pl.col("reranker_score"))
    missing = {name: pl.lit(None) for name in TEACHER_SCORES.columns if name not in scores.columns}
    write_table(scores.with_columns(**missing), outputs / "score" / "teacher_scores.parquet", TEACHER_SCORES)


def run(folder: Path, name: str = "mine", reranker: str = "maxsim", **params: object) -> tuple[Path, dict[str, float]]:
    outputs = folder / "outputs"
    if not outputs.is_dir():
        write_inputs(outputs)
    out = outputs / name
    out.mkdir()
    config = SimpleNamespace(
        seed=7, threads=1, mine=MineParams.model_validate(params), score=SimpleNamespace(reranker=reranker)
    )
    context = SimpleNamespace(outputs=outputs, out=out, config=config, cache=folder / "cache")
    return out, mine.run(context)  # type: ignore[arg-type]  # a context with the few fields that mine reads


def test_kept_and_refused(tmp_path: Path) -> None:
    out, metrics = run(tmp_path)
    triplets = read_table(out / "triplets.parquet", TRIPLETS)
    first = triplets.row(
        by_predicate=(pl.col("query") == QUERY["q1"]) & (pl.col("positive") == DOCUMENT["right"]), named=True
    )
    assert first["positive_score"] == 0.9
    assert first["negatives"] == [DOCUMENT["hard"], DOCUMENT["easy"]]  # hardest first; never a positive
    assert first["negative_scores"] == [0.6, 0.1]
    refused = read_table(out / "rejections.parquet", REJECTIONS)
    found = {(q, d): (reason, limit) for q, d, reason, *_, limit in refused.iter_rows()}
    scales = dict(refused.select("reason", "scale").iter_rows())
    assert scales == {
        "duplicate_of_positive": "overlap", "same_as_query": None, "false_negative": "raw", "same_label": None
    }  # fmt: skip
    copy = refused.row(by_predicate=pl.col("reason") == "duplicate_of_positive", named=True)
    assert (copy["score"], copy["compared"], copy["threshold"]) == (0.89, 1.0, 0.5)
    assert found[QUERY["q1"], DOCUMENT["copy"]][0] == "duplicate_of_positive"
    assert found[QUERY["q1"], DOCUMENT["own"]][0] == "same_as_query"
    assert found[QUERY["q1"], DOCUMENT["close"]] == (
        "false_negative",
        pytest.approx(0.95 * 0.8),
    )  # the weakest positive counts
    assert found[QUERY["k1"], DOCUMENT["label-a2"]][0] == "same_label"
    assert metrics["rejected/same_label"] == 1
    assert not set(found) & {(QUERY[query], DOCUMENT[doc]) for query, doc, _ in QREL_ROWS}


def test_every_candidate_is_kept_or_refused_once(tmp_path: Path) -> None:
    out, _ = run(tmp_path, negatives=100)
    kept = read_table(out / "triplets.parquet", TRIPLETS).unique("query").select("query", "negatives")
    kept_pairs = [(q, d) for q, rows in kept.iter_rows() for d in rows]
    refused = read_table(out / "rejections.parquet", REJECTIONS).select("query", "document").rows()
    positives = {(query, doc) for query, doc, _ in QREL_ROWS}
    everything = {(query, doc) for query, found in SCORES.items() for doc in found} - positives
    assert sorted(kept_pairs + refused) == sorted((QUERY[query], DOCUMENT[doc]) for query, doc in everything)


def test_the_number_of_negatives_is_kept(tmp_path: Path) -> None:
    out, _ = run(tmp_path, negatives=1)
    assert read_table(out / "triplets.parquet", TRIPLETS)["negatives"].list.len().max() == 1


def test_doubtful_positives_are_reported(tmp_path: Path) -> None:
    out, metrics = run(tmp_path)
    found = pl.read_parquet(out / "suspicious.parquet")
    assert found.select("query", "document", "score").rows() == [(QUERY["q2"], DOCUMENT["right"], 0.2)]
    assert found["share_above"].item() == pytest.approx(2 / 3)
    assert metrics["suspicious_positives"] == 1


def test_a_query_without_negatives_keeps_its_positives(tmp_path: Path) -> None:
    out, metrics = run(tmp_path, max_score=0.15)
    triplets = read_table(out / "triplets.parquet", TRIPLETS)
    assert len(triplets) == 4
    assert triplets.filter(pl.col("query") == QUERY["k1"])["negatives"].to_list() == [[]]
    assert metrics["positives_without_negatives"] == 1


def test_no_negative_at_all_is_refused_with_the_counts(tmp_path: Path) -> None:
    with pytest.raises(
        UserError,
        match=r"not one negative is left: facts: .* max_score 4, .*kinds: 2 candidates.*; raise mine.max_score",
    ):
        run(tmp_path, max_score=-1.0, margin=1.0)


def test_logits_are_compared_as_probabilities_and_kept_as_logits(tmp_path: Path) -> None:
    out, _ = run(tmp_path, reranker="cross_encoder")
    refused = read_table(out / "rejections.parquet", REJECTIONS)
    close = refused.row(
        by_predicate=(pl.col("query") == QUERY["q1"]) & (pl.col("document") == DOCUMENT["close"]), named=True
    )
    assert close["scale"] == "probability"
    assert close["score"] == 0.77
    assert close["compared"] == pytest.approx(1 / (1 + math.exp(-0.77)))
    assert close["threshold"] == pytest.approx(0.95 / (1 + math.exp(-0.8)))
    triplets = read_table(out / "triplets.parquet", TRIPLETS)
    assert set(triplets["positive_score"]) == {0.9, 0.8, 0.2, 0.4}
    assert "the sigmoid of the teacher" in (out / "report.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_small_parts_give_the_same_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, metrics = run(tmp_path, "whole")
    monkeypatch.setattr("components.mining.task.PAIRS_AT_ONCE", 1)
    parts, same = run(tmp_path, "parts")
    assert metrics == same
    for table in ("triplets", "rejections", "suspicious"):
        left, right = (pl.read_parquet(folder / f"{table}.parquet") for folder in (whole, parts))
        assert left.equals(right), table


@pytest.mark.slow
def test_the_sources_own_negatives_come_first(tmp_path: Path) -> None:
    write_inputs(tmp_path / "outputs")
    pairs = [(QUERY["q1"], DOCUMENT[name]) for name in ("copy", "close", "easy")]
    own = pl.DataFrame(pairs, schema=["query", "document"], orient="row").sort("query", "document")
    write_table(own, tmp_path / "outputs" / "prepare" / "own_negatives.parquet", OWN_NEGATIVES)
    found = {}
    for word in ("trust", "check", "ignore"):
        out, metrics = run(tmp_path, word, own_negatives=word, min_score=0.2)
        triplets = read_table(out / "triplets.parquet", TRIPLETS)
        found[word] = triplets.row(by_predicate=pl.col("positive_score") == 0.9, named=True)["negatives"]
        assert metrics["own_negatives"] == {"trust": 2, "check": 0, "ignore": 0}[word]
    # a copy of a positive never; what scores within the margin, or is too easy, when it is trusted
    assert found["trust"] == [DOCUMENT[name] for name in ("close", "easy", "hard")]
    assert found["check"] == found["ignore"] == [DOCUMENT["hard"]]


def test_no_margin_with_keep(tmp_path: Path) -> None:
    out, _ = run(tmp_path, false_negatives="keep")
    triplets = read_table(out / "triplets.parquet", TRIPLETS)
    first = triplets.row(by_predicate=pl.col("positive_score") == 0.9, named=True)
    assert first["negatives"] == [DOCUMENT[name] for name in ("close", "hard", "easy")]


@pytest.mark.slow
def test_doubtful_positives_lose_weight_or_go_in_training_only(tmp_path: Path) -> None:
    out, metrics = run(tmp_path, "less", suspicious=0.0, suspicious_action="down_weight", suspicious_weight=0.25)
    weights = dict(read_table(out / "triplets.parquet", TRIPLETS).select("positive_score", "weight").iter_rows())
    assert weights == {0.9: 1.0, 0.8: 1.0, 0.2: 1.0, 0.4: 1.0}  # q2 is a dev query
    change_split("q2", "train", tmp_path / "outputs")
    out, metrics = run(tmp_path, "train", suspicious=0.0, suspicious_action="down_weight", suspicious_weight=0.25)
    weights = dict(read_table(out / "triplets.parquet", TRIPLETS).select("positive_score", "weight").iter_rows())
    assert weights == {0.9: 1.0, 0.8: 1.0, 0.2: 0.25, 0.4: 1.0}
    assert metrics["suspicious/down_weight"] == 1
    out, _ = run(tmp_path, "gone", suspicious=0.0, suspicious_action="drop")
    assert set(read_table(out / "triplets.parquet", TRIPLETS)["positive_score"]) == {0.9, 0.8, 0.4}


def change_split(query: str, split: str, outputs: Path) -> None:
    file = outputs / "prepare" / "queries.parquet"
    own = pl.when(pl.col("query_id") == query).then(pl.lit(split)).otherwise(pl.col("split"))
    write_table(pl.read_parquet(file).with_columns(split=own), file, QUERIES)


@pytest.mark.slow
def test_a_rerun_writes_the_same_bytes(tmp_path: Path) -> None:
    first, second = run(tmp_path, "a")[0], run(tmp_path, "b")[0]
    names = sorted(file.name for file in first.iterdir())
    assert names == ["margins.json", "rejections.parquet", "report.html", "suspicious.parquet", "triplets.parquet"]
    for name in names:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name


def test_the_page_shows_texts_scores_and_reasons_and_loads_nothing(tmp_path: Path) -> None:
    out, _ = run(tmp_path)
    page = (out / "report.html").read_text(encoding="utf-8")
    for text in ("dogs sleep near bridges", "0.600", "duplicate_of_positive", "limit 0.760", "margin 0.95"):
        assert text in page
    # per task: a stacked bar of kept and refused, the median limit in the plot of the scores
    assert 'title="duplicate_of_positive: 1"' in page
    assert page.count('<div class="shares">') == 2
    assert ">limit 0.76<" in page or ">limit 0.47<" in page
    for loader in ("<script", "http://", "https://", "@import"):
        assert loader not in page


def test_the_page_shows_what_lies_nearest_to_the_limit_on_either_side(tmp_path: Path) -> None:
    out, _ = run(tmp_path)
    page = (out / "report.html").read_text(encoding="utf-8")
    section = page[page.index('<h2 id="facts">') : page.index('<h2 id="kinds">')]
    below = section[section.index("Just below") : section.index("Just above")]
    above = section[section.index("Just above") : section.index("Examples, drawn")]
    assert "a fox leaps over some dog" in below  # q2: 0.1 of a limit of 0.19; its other candidates are farther
    assert "a fox leaps over some dog" in above  # q1: 0.77 of a limit of 0.76
    assert "limit 0.760" in above
    assert "limit 0.190" in below


def test_an_unscored_positive_is_named(tmp_path: Path) -> None:
    write_inputs(tmp_path / "outputs")
    file = tmp_path / "outputs" / "score" / "teacher_scores.parquet"
    pl.read_parquet(file).filter(pl.col("document") != DOCUMENT["label-a"]).write_parquet(file)
    with pytest.raises(UserError, match="no score for positive 'label-a' of query 'k1'"):
        run(tmp_path)
