"""Random sources through prepare: no crash, no query in two splits, and every query of the source is accounted for.

100 examples in the suite. 10,000 of them, some ten minutes:
python -m pytest tests/data/test_prepare_fuzz.py --hypothesis-profile=thorough
"""

import unicodedata
from typing import Any

import polars as pl
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from components.base.errors import UserError
from components.base.overlap import normalise
from components.config import DecontaminateParams, TaskParams
from components.data.decontaminate import BenchmarkIndex
from components.data.held_out import held_out_texts
from components.data.labelled import prepare_labelled
from components.data.pairs import prepare_pairs
from components.data.prepare import decontaminate
from components.data.prepared import Prepared
from tests.data.prepared import same

FUZZ = settings(max_examples=settings.default.max_examples // 2, deadline=None)
BASE = [
    "how do I reset it",
    "US",
    "us",
    "où est-ce",
    "路由器怎么重置",
    "ルーターの使い方",
    "สวัสดี ครับ",
    "a",
    "<query>",
    "नमस्ते",
]
FORMS = [str, str.upper, lambda text: unicodedata.normalize("NFD", text), lambda text: f" {text}  x".replace(" ", "  ")]
LONG = " ".join(f"word{n}" for n in range(20))
TEXTS = st.one_of(
    st.builds(lambda text, form: form(text), st.sampled_from(BASE), st.sampled_from(FORMS)),
    st.builds(lambda text, number: f"{text} {number}", st.sampled_from([*BASE, LONG]), st.integers(0, 9)),
    st.text(min_size=1, max_size=6).filter(str.strip),
)
SPLITS = st.sampled_from([None, None, "train", "dev", "test"])
SIZES = st.fixed_dictionaries(
    {
        "train": st.integers(1, 12),
        "dev": st.integers(0, 4),
        "test": st.integers(0, 8),
        "max_words": st.none() | st.just(3),
    }
)
SCORES = st.sampled_from([-1.0, 0.0, 1.0, 1.0, 2.0])


def run(done: Prepared) -> None:
    """What the stage does with one task, and what must hold then."""
    held_out = held_out_texts("t", done.benchmark)
    before = done.queries
    found = decontaminate(done, BenchmarkIndex(held_out, DecontaminateParams(), 1), done.account.shared)
    assert set(found["id"]) <= {*before["query_id"], *found.filter(pl.col("table") == "corpus")["id"]}
    account = done.account
    taken = account.given["test"] + before.filter(~pl.col("query_id").str.ends_with("-reversed")).height
    assert taken <= account.queries
    assert all(count > 0 for count in account.because.values())
    assert account.line()
    for split in ("train", "dev", "test"):
        assert "\n" not in account.refusal(split, {"near": 1})
    held = {normalise(text, punctuation=False) for text in held_out.values()}
    labels = {text for text in done.corpus["text"]} if done.queries["label"].null_count() < len(done.queries) else set()
    left = {text for text in done.queries["text"]} - labels
    assert not held & {normalise(text, punctuation=False) for text in left}
    asked = done.queries.filter(~pl.col("query_id").str.ends_with("-reversed"))
    dev, train = ({same(text) for text in asked.filter(pl.col("split") == name)["text"]} for name in ("dev", "train"))
    assert not dev & train
    judged = done.qrels.join(done.corpus, on="doc_id", how="semi")
    assert len(judged) == len(done.qrels)
    assert set(done.queries["query_id"]) == set(done.qrels["query_id"])


@pytest.mark.slow
@given(
    st.lists(st.tuples(TEXTS, TEXTS, SCORES, SPLITS), min_size=1, max_size=24),
    SIZES,
    st.sampled_from(["retrieval", "reranking", "sts", "pair_classification"]),
    st.booleans(),
    st.sampled_from([{}, {"positive_score": 1}, {"symmetric": True}]),
)
@FUZZ
def test_pairs(
    rows: list[tuple[str, str, float, str | None]], sizes: dict[str, Any], kind: str, ids: bool, more: dict[str, Any]
) -> None:
    query, document, score, split = zip(*rows, strict=True)
    columns: dict[str, Any] = {"query": query, "document": document, "score": score}
    if len({*split}) > 1:
        columns["split"] = split
    if ids:
        columns |= {name: [text[:2] for text in texts] for name, texts in (("query_id", query), ("doc_id", document))}
    if kind == "retrieval":
        sizes = {**sizes, "test_documents": 9, "dev_documents": 4}
    if kind in ("sts", "pair_classification"):
        sizes = {**sizes, "test": min(sizes["test"], 3)}
    params = TaskParams(source="s", kind=kind, instruction="Find", **sizes, **more)
    frame = pl.DataFrame(columns, schema_overrides={"split": pl.String} if "split" in columns else None)
    try:
        done = prepare_pairs("t", frame, params, seed=0)
    except UserError:
        event("refused")
        return
    written = {*query, *document}
    for text in {*done.corpus["text"], *done.queries["text"]}:
        assert text in written or any(text in other for other in written)
    run(done)


@pytest.mark.slow
@given(
    st.lists(st.tuples(TEXTS, st.sampled_from(["a", "b", "c d"]), SPLITS), min_size=1, max_size=24),
    SIZES,
    st.sampled_from([("classification", "label"), ("clustering", "example"), ("classification", "example")]),
)
@FUZZ
def test_labelled_texts(rows: list[tuple[str, str, str | None]], sizes: dict[str, Any], how: tuple[str, str]) -> None:
    text, label, split = zip(*rows, strict=True)
    frame = pl.DataFrame({"text": text, "label": label, "split": split}, schema_overrides={"split": pl.String})
    params = TaskParams(source="s", kind=how[0], positives=how[1], instruction="Sort", **sizes)  # type: ignore[arg-type]
    run(prepare_labelled("t", frame, params, seed=0))
