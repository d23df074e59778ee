"""The score stage on tiny models: contents, what is scored again, and bad input."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from components.base.errors import UserError
from components.contracts.tables import (
    CANDIDATES,
    OWN_NEGATIVES,
    SOURCE_SCORES,
    TEACHER_SCORES,
    read_table,
    write_table,
)
from components.data.inputs import Inputs, read_inputs
from components.teacher import retrieve, score, source_scores
from components.teacher.cross_encoder import CrossEncoderTeacher
from components.teacher.pairs import Block, Pairs
from components.teacher.scorers import LateInteraction
from tests.samples import with_ids
from tests.teacher.both_stages import CROSS_ENCODER, run_both
from tests.teacher.conftest import make_context, retrieve_params, score_params


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


def test_maxsim_needs_a_dense_teacher(tmp_path: Path, models: Path) -> None:
    with pytest.raises(UserError, match=r"score\.model: maxsim needs a teacher of retrieve\.dense, not 'reranker'"):
        run_both(tmp_path, models, model="reranker")
