"""The retrieve and score stages on tiny models: contents, bad input, and the same bytes however they ran."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import load_file

from components.base.errors import UserError
from components.contracts.tables import (
    CANDIDATES,
    OWN_NEGATIVES,
    QRELS,
    SOURCE_SCORES,
    TEACHER_SCORES,
    read_table,
    write_table,
)
from components.data.inputs import Inputs, read_inputs
from components.model.sentence_model import PLAIN, SentenceModel
from components.teacher import dense, retrieve, score, source_scores
from components.teacher.cross_encoder import CrossEncoderTeacher
from components.teacher.pairs import Block, Pairs
from components.teacher.scorers import LateInteraction
from tests.samples import read_prepared_tables, with_ids, write_prepared_tables
from tests.teacher.both_stages import CROSS_ENCODER, run_both
from tests.teacher.conftest import FakeContext, make_context, retrieve_params, score_params


def test_candidates_stay_in_their_task_and_out_of_test(tmp_path: Path, models: Path) -> None:
    context = make_context(tmp_path, models)
    metrics = retrieve.run(context)  # type: ignore[arg-type]
    table = read_candidates(context)
    kinds = table.filter(pl.col("query_id").str.starts_with("k-"))
    assert kinds["doc_id"].str.starts_with("l-").all()
    assert table.filter(pl.col("query_id").str.ends_with("-3")).is_empty()  # the test queries
    best = table.sort("bm25_rank", nulls_last=True).filter(pl.col("query_id") == "q-river-1").row(0, named=True)
    assert best["doc_id"] == "d-river-1"
    assert metrics["recall_bm25"] > 0.8
    assert 0 < metrics["candidates_per_query"] <= 10


def test_held_out_documents_reach_dev_queries_only(tmp_path: Path, models: Path) -> None:
    context = make_context(tmp_path, models)
    held = pl.when(pl.col("doc_id").str.ends_with("-0")).then(pl.lit("dev")).otherwise(pl.col("split"))
    edit(tmp_path, corpus=lambda frame: frame.with_columns(split=held))
    retrieve.run(context)  # type: ignore[arg-type]
    table = read_candidates(context)
    meets_held = table.filter(pl.col("doc_id").str.ends_with("-0"))["query_id"].unique()
    assert meets_held.str.ends_with("-0").all()
    assert len(meets_held)


def test_a_rerun_is_byte_identical_and_embeds_nothing(tmp_path: Path, models: Path) -> None:
    files = []
    for turn in ("a", "b"):
        context = make_context(tmp_path, models, turn)
        retrieve.run(context)  # type: ignore[arg-type]
        files.append((context.out / "candidates.parquet").read_bytes())
    assert files[0] == files[1]
    segments = len(list((tmp_path / "cache").rglob("keys.npy")))
    retrieve.run(make_context(tmp_path, models, "c", retrieve=retrieve_params(depth=3)))  # type: ignore[arg-type]
    assert len(list((tmp_path / "cache").rglob("keys.npy"))) == segments


def test_kept_vectors_stand_at_the_rows_of_their_texts(tmp_path: Path, models: Path) -> None:
    params = retrieve_params(keep_vectors=["dense"])
    context = make_context(tmp_path, models, retrieve=params)
    retrieve.run(context)  # type: ignore[arg-type]
    kept = load_file(context.out / "vectors" / "dense.safetensors")
    teacher = dense.EmbeddedTexts(models, "dense", params.dense["dense"], tmp_path / "cache")
    for table, name in (("queries", "queries"), ("corpus", "documents")):
        frame = pl.read_parquet(context.outputs / "prepare" / f"{table}.parquet")
        used = frame.filter(pl.col("split") != "test") if name == "queries" else frame
        rows = used["row"].to_numpy()
        vectors = teacher.reader.encode(used["text"].to_list(), PLAIN)
        np.testing.assert_array_equal(kept[name][rows], vectors.astype(np.float16))
        left_out = np.setdiff1d(np.arange(len(kept[name])), rows)
        assert not kept[name][left_out].any()
    assert len(left_out) == 0 < len(kept["queries"]) - 24  # rows of the test queries


def test_two_teachers_are_fused(tmp_path: Path, models: Path) -> None:
    for fusion in ("rrf", "z_score"):
        params = retrieve_params(dense={"dense": {}, "other": {"weight": 2.0}}, fusion=fusion, bm25=None)
        context = make_context(tmp_path, models, fusion, retrieve=params)
        retrieve.run(context)  # type: ignore[arg-type]
        table = read_table(context.out / "candidates.parquet", CANDIDATES)
        assert table["bm25_rank"].null_count() == len(table)
        assert table["dense_rank"].null_count() > 0  # found by the second teacher alone


def test_k_larger_than_the_corpus_takes_it_all(tmp_path: Path, models: Path) -> None:
    context = make_context(tmp_path, models, retrieve=retrieve_params(depth=1000))
    retrieve.run(context)  # type: ignore[arg-type]
    table = read_candidates(context)
    assert (table.filter(pl.col("query_id") == "k-river").height, table["query_id"].n_unique()) == (6, 24)


@pytest.mark.parametrize("index", [{"kind": "ivf", "lists": 2, "probes": 2}, {"kind": "hnsw"}])
def test_an_index_reports_its_recall(tmp_path: Path, models: Path, index: dict[str, object]) -> None:
    metrics = retrieve.run(make_context(tmp_path, models, retrieve=retrieve_params(index=index)))  # type: ignore[arg-type]
    assert metrics["index_recall/dense/facts, train"] > 0.9


def test_every_candidate_and_positive_is_scored(tmp_path: Path, models: Path) -> None:
    context = run_both(tmp_path, models)
    table = read_table(context.out / "teacher_scores.parquet", TEACHER_SCORES)
    candidates = read_table(tmp_path / "outputs" / "retrieve" / "candidates.parquet", CANDIDATES)
    prepared = tmp_path / "outputs" / "prepare"
    qrels = with_ids(pl.read_parquet(prepared / "qrels.parquet"), prepared)
    asked = qrels.filter(~pl.col("query_id").str.ends_with("-3"))
    for part in (candidates, asked):
        assert part.join(table, on=["query", "document"], how="anti").is_empty()
    assert table["relevance"].is_between(0, 1).all()
    order = table.sort("reranker_score")["relevance"].to_numpy()
    assert (np.diff(order) >= 0).all()
    assert "Reliability" in (context.out / "report.html").read_text(encoding="utf-8")


def first_queries(inputs: Inputs, number: int) -> np.ndarray:
    """bool by row: the first train and dev queries."""
    return np.isin(np.arange(30), inputs.queries["row"].to_numpy()[:number])


def test_another_choice_of_queries_scores_only_new_pairs(
    tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    retrieve.run(make_context(tmp_path, models))  # type: ignore[arg-type]
    plain, scored = CrossEncoderTeacher.score, []

    def counted(self: CrossEncoderTeacher, pairs: Any) -> np.ndarray:
        scored.extend(pairs)
        return plain(self, pairs)

    monkeypatch.setattr(CrossEncoderTeacher, "score", counted)
    tables, numbers = [], []
    for name, first in (("some", 9), ("all", 24), ("again", 24)):
        monkeypatch.setattr(score, "wanted_queries", lambda inputs, *_, first=first: first_queries(inputs, first))
        context = make_context(tmp_path, models, name, score=score_params(**CROSS_ENCODER))
        context.work.joinpath(name).mkdir()
        metrics = score.run(replace(context, work=context.work / name))  # type: ignore[arg-type]
        assert metrics["queries_left_out"] == 24 - first
        tables.append(read_table(context.out / "teacher_scores.parquet", TEACHER_SCORES))
        numbers.append(len(scored))
    some, everything, again = tables
    shared = ["query", "document", "reranker_score"]
    assert some.select(shared).equals(everything.select(shared).join(some, on=["query", "document"], how="semi"))
    assert len(set(scored)) == len(scored) == numbers[1] == numbers[2]  # each pair once, and none again
    assert numbers[0] < numbers[1]
    assert again.equals(everything)
    last = np.flatnonzero(first_queries(read_inputs(context.outputs / "prepare"), 9))[-1]
    assert len(some.filter(pl.col("query") > last)) == 15  # their positives


def test_the_sources_own_negatives_are_scored_too(tmp_path: Path, models: Path) -> None:
    context = make_context(tmp_path, models, retrieve=retrieve_params(depth=1))
    prepared = tmp_path / "outputs" / "prepare"
    queries, corpus = (pl.read_parquet(prepared / f"{name}.parquet") for name in ("queries", "corpus"))
    asked = queries.filter(pl.col("query_id") == "q-river-1")["row"][0]
    wrong = corpus.filter(pl.col("doc_id") == "d-winter-2")["row"][0]
    pair = pl.DataFrame({"query": [asked], "document": [wrong]})
    write_table(pair, prepared / "own_negatives.parquet", OWN_NEGATIVES)
    retrieve.run(context)  # type: ignore[arg-type]
    score.run(make_context(tmp_path, models, "score", retrieve=retrieve_params(depth=1), score=score_params()))  # type: ignore[arg-type]
    found = read_table(tmp_path / "outputs" / "score" / "teacher_scores.parquet", TEACHER_SCORES)
    row = found.row(by_predicate=(pl.col("query") == asked) & (pl.col("document") == wrong), named=True)
    assert row["fused_score"] is None
    assert row["reranker_score"] < 1


def test_the_sources_own_scores_stand_in_for_the_rerankers(
    tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of every second positive; the reranker scores the other pairs, and a sample of these."""
    monkeypatch.setattr(source_scores, "FEWEST", 3)
    context = run_both(tmp_path, models)
    plain = read_table(context.out / "teacher_scores.parquet", TEACHER_SCORES)
    qrels = read_inputs(tmp_path / "outputs" / "prepare").qrels
    known = plain.join(qrels, on=["query", "document"], how="semi").gather_every(2)
    given = known.select("query", "document", score=10 * pl.col("reranker_score") + 3)
    write_table(given, tmp_path / "outputs" / "prepare" / "source_scores.parquet", SOURCE_SCORES)
    for word, used in (("use", len(given)), ("ignore", 0)):
        again = make_context(tmp_path, models, f"score {word}", score=score_params(source_scores=word))
        (again.work / word).mkdir()
        metrics = score.run(replace(again, work=again.work / word))  # type: ignore[arg-type]
        table = read_table(again.out / "teacher_scores.parquet", TEACHER_SCORES)
        assert metrics["source_scores"] == used
        np.testing.assert_allclose(table["reranker_score"], plain["reranker_score"], atol=1e-4)


def test_maxsim_fuses_cosine_and_late_interaction(
    tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both, built, build = {}, [], Pairs._built

    def counted(self: Pairs, block: Block) -> pl.DataFrame:
        built.append((self._tables, block.name))
        return build(self, block)

    monkeypatch.setattr(Pairs, "_built", counted)
    for weight in (0.0, 0.5, 1.0):
        context = run_both(tmp_path / str(weight), models, dense_weight=weight)
        both[weight] = read_table(context.out / "teacher_scores.parquet", TEACHER_SCORES)
    mean = (both[0.0]["reranker_score"] + both[1.0]["reranker_score"]) / 2
    np.testing.assert_allclose(both[0.5]["reranker_score"].to_numpy(), mean.to_numpy(), atol=1e-6)
    found = both[1.0].drop_nulls("dense_score")
    np.testing.assert_allclose(found["reranker_score"].to_numpy(), found["dense_score"].to_numpy(), atol=1e-6)
    assert len(set(built)) == len(built) >= 3  # a block's table is made once, however many passes read it


def test_late_interaction_is_computed_once_for_the_same_pairs(
    tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    retrieve.run(make_context(tmp_path, models))  # type: ignore[arg-type]
    plain, scored = LateInteraction.score, []

    def counted(self: LateInteraction, pairs: Any) -> np.ndarray:
        scored.extend(pairs)
        return plain(self, pairs)

    monkeypatch.setattr(LateInteraction, "score", counted)
    tables, numbers = [], []
    for name, first in (("all", 24), ("again", 24), ("fewer", 9)):
        monkeypatch.setattr(score, "wanted_queries", lambda inputs, *_, first=first: first_queries(inputs, first))
        context = make_context(tmp_path, models, name, score=score_params(calibration="temperature"))
        context.work.joinpath(name).mkdir()
        score.run(replace(context, work=context.work / name))  # type: ignore[arg-type]
        tables.append((context.out / "teacher_scores.parquet").read_bytes())
        numbers.append(len(scored))
    assert tables[0] == tables[1]
    assert 0 < numbers[0] == numbers[1] < numbers[2]  # other pairs of a document are other scores


def test_cross_encoder_scores_are_the_models(tmp_path: Path, models: Path) -> None:
    context = run_both(tmp_path, models, reranker="cross_encoder", model="reranker", max_tokens=128)
    table = read_table(context.out / "teacher_scores.parquet", TEACHER_SCORES)
    texts = pl.read_parquet(tmp_path / "outputs/prepare/corpus.parquet")["text"]
    asked = pl.read_parquet(tmp_path / "outputs/prepare/queries.parquet")["text"]
    pairs = [(asked[query], texts[document]) for query, document in table.select("query", "document").iter_rows()]
    expected = CrossEncoderTeacher.load(models, "reranker", 128, 2048).score(pairs)
    np.testing.assert_array_equal(table["reranker_score"].to_numpy(), expected.astype(np.float64))


def test_not_a_number_from_a_teacher_names_the_pair(
    tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CrossEncoderTeacher, "score", lambda self, pairs: np.full(len(pairs), np.nan, np.float32))
    with pytest.raises(UserError, match=r"reranker: the score of query '.*' and document '.*' is not finite"):
        run_both(tmp_path, models, reranker="cross_encoder", model="reranker")


def test_not_a_number_from_a_dense_teacher_stops_the_stage(
    tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = SentenceModel.forward

    def broken(self: SentenceModel, *given: Any, **tokens: bool) -> tuple[np.ndarray, list[np.ndarray]]:
        vectors, matrices = plain(self, *given, **tokens)
        vectors[0, 0] = np.nan
        return vectors, matrices

    monkeypatch.setattr(SentenceModel, "forward", broken)
    with pytest.raises(UserError, match="a vector that is not finite; check its weights"):
        retrieve.run(make_context(tmp_path, models))  # type: ignore[arg-type]
    assert not list((tmp_path / "cache").rglob("vectors.npy"))  # nothing of the shard is kept


def test_maxsim_needs_a_dense_teacher(tmp_path: Path, models: Path) -> None:
    with pytest.raises(UserError, match=r"score\.model: maxsim needs a teacher of retrieve\.dense, not 'reranker'"):
        run_both(tmp_path, models, model="reranker")


def read_candidates(context: FakeContext) -> pl.DataFrame:
    """candidates.parquet, with the string ids."""
    return with_ids(read_table(context.out / "candidates.parquet", CANDIDATES), context.outputs / "prepare")


def edit(folder: Path, **changes: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
    """Change tables of prepare, given by string ids."""
    prepared = folder / "outputs" / "prepare"
    frames = zip(("corpus", "queries", "qrels"), read_prepared_tables(prepared), strict=True)
    write_prepared_tables(prepared, *(changes.get(name, lambda frame: frame)(frame) for name, frame in frames))


def test_an_empty_corpus_is_named(tmp_path: Path, models: Path) -> None:
    context = make_context(tmp_path, models)
    edit(
        tmp_path,
        corpus=lambda frame: frame.filter(pl.col("task") != "kinds"),
        qrels=lambda frame: frame.filter(~pl.col("doc_id").str.starts_with("l-")),
    )
    with pytest.raises(UserError, match=r"corpus\.parquet: field task: no document of 'kinds'"):
        retrieve.run(context)  # type: ignore[arg-type]


def test_a_query_without_a_positive_is_named(tmp_path: Path, models: Path) -> None:
    context = make_context(tmp_path, models)
    edit(tmp_path, qrels=lambda frame: frame.filter(pl.col("query_id") != "q-bread-1"))
    with pytest.raises(UserError, match="query 'q-bread-1' has no positive"):
        retrieve.run(context)  # type: ignore[arg-type]


def test_a_positive_that_is_missing_from_the_corpus_is_named(tmp_path: Path, models: Path) -> None:
    context = make_context(tmp_path, models)
    file = context.outputs / "prepare" / "qrels.parquet"
    bread = (
        pl.col("query")
        == pl.read_parquet(context.outputs / "prepare" / "queries.parquet").filter(query_id="q-bread-1")["row"][0]
    )
    unknown = pl.when(bread).then(999).otherwise(pl.col("document"))
    write_table(pl.read_parquet(file).with_columns(document=unknown), file, QRELS)
    with pytest.raises(UserError, match="positive 999 of query 'q-bread-1' is missing from the corpus"):
        retrieve.run(context)  # type: ignore[arg-type]


def test_a_positive_of_another_task_is_no_positive(tmp_path: Path, models: Path) -> None:
    context = make_context(tmp_path, models)
    swapped = pl.when(pl.col("query_id") == "q-bread-1").then(pl.lit("l-bread")).otherwise(pl.col("doc_id"))
    edit(tmp_path, qrels=lambda frame: frame.with_columns(doc_id=swapped))
    with pytest.raises(UserError, match="'l-bread'"):
        retrieve.run(context)  # type: ignore[arg-type]
