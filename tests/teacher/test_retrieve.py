"""The retrieve stage on tiny models: contents, bad input, and the same bytes however it ran."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import load_file

from components.base.errors import UserError
from components.contracts.tables import (
    CANDIDATES,
    QRELS,
    read_table,
    write_table,
)
from components.model.sentence_model import PLAIN, SentenceModel
from components.teacher import dense, retrieve
from tests.samples import read_prepared_tables, with_ids, write_prepared_tables
from tests.teacher.conftest import FakeContext, make_context, retrieve_params


@pytest.mark.slow
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


@pytest.mark.slow
def test_held_out_documents_reach_dev_queries_only(tmp_path: Path, models: Path) -> None:
    context = make_context(tmp_path, models)
    held = pl.when(pl.col("doc_id").str.ends_with("-0")).then(pl.lit("dev")).otherwise(pl.col("split"))
    edit(tmp_path, corpus=lambda frame: frame.with_columns(split=held))
    retrieve.run(context)  # type: ignore[arg-type]
    table = read_candidates(context)
    meets_held = table.filter(pl.col("doc_id").str.ends_with("-0"))["query_id"].unique()
    assert meets_held.str.ends_with("-0").all()
    assert len(meets_held)


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_two_teachers_are_fused(tmp_path: Path, models: Path) -> None:
    for fusion in ("rrf", "z_score"):
        params = retrieve_params(dense={"dense": {}, "other": {"weight": 2.0}}, fusion=fusion, bm25=None)
        context = make_context(tmp_path, models, fusion, retrieve=params)
        retrieve.run(context)  # type: ignore[arg-type]
        table = read_table(context.out / "candidates.parquet", CANDIDATES)
        assert table["bm25_rank"].null_count() == len(table)
        assert table["dense_rank"].null_count() > 0  # found by the second teacher alone


@pytest.mark.slow
def test_k_larger_than_the_corpus_takes_it_all(tmp_path: Path, models: Path) -> None:
    context = make_context(tmp_path, models, retrieve=retrieve_params(depth=1000))
    retrieve.run(context)  # type: ignore[arg-type]
    table = read_candidates(context)
    assert (table.filter(pl.col("query_id") == "k-river").height, table["query_id"].n_unique()) == (6, 24)


@pytest.mark.slow
@pytest.mark.parametrize("index", [{"kind": "ivf", "lists": 2, "probes": 2}, {"kind": "hnsw"}])
def test_an_index_reports_its_recall(tmp_path: Path, models: Path, index: dict[str, object]) -> None:
    metrics = retrieve.run(make_context(tmp_path, models, retrieve=retrieve_params(index=index)))  # type: ignore[arg-type]
    assert metrics["index_recall/dense/facts, train"] > 0.9


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
