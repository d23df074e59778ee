"""Decontamination: planted copies and near copies are found and named, and nothing else is."""

import random

import polars as pl

from components.config import DecontaminateParams
from components.data.decontaminate import BenchmarkIndex

WORDS = [f"{first}{second}" for first in "bcdfgklmnprst" for second in ("ala", "enu", "iko", "oru", "umi", "ade")]


def passage(seed: int, words: int = 60) -> str:
    return " ".join(random.Random(seed).choices(WORDS, k=words))


def changed(text: str, number: int) -> str:
    words = text.split()
    for place in range(number):
        words[place * len(words) // number] = "changed"
    return " ".join(words)


BENCHMARK = {f"test/{number}": passage(number) for number in range(200)}


def matches(training: dict[str, str], threshold: float = 0.7) -> pl.DataFrame:
    return BenchmarkIndex(BENCHMARK, DecontaminateParams(threshold=threshold)).matches(training)


def test_planted_copies_are_found_and_others_are_not() -> None:
    training = {f"clean-{number}": passage(1000 + number) for number in range(200)}
    training["copy"] = BENCHMARK["test/3"].upper().replace(" ", "  ") + " !"
    training |= {f"near-{number}": changed(BENCHMARK[f"test/{number}"], 2) for number in range(50, 90)}
    training["far"] = changed(BENCHMARK["test/99"], 20)
    found = matches(training)
    assert found.row(by_predicate=pl.col("id") == "copy") == ("copy", "test/3", "exact", 1.0)
    near = found.filter(pl.col("method") == "near")
    assert dict(near.select("id", "matched_id").iter_rows()) == {f"near-{n}": f"test/{n}" for n in range(50, 90)}
    assert near["similarity"].is_between(0.7, 1, closed="both").all()
    assert len(found) == 41


def test_the_threshold_is_the_true_overlap() -> None:
    text = changed(BENCHMARK["test/7"], 2)
    left, right = (
        set(zip(words, words[1:], words[2:], strict=False)) for words in (text.split(), BENCHMARK["test/7"].split())
    )
    overlap = len(left & right) / len(left | right)
    assert len(matches({"x": text}, threshold=overlap - 0.01)) == 1
    assert len(matches({"x": text}, threshold=overlap + 0.01)) == 0


def test_short_texts_match_only_when_equal() -> None:
    index = BenchmarkIndex({"t": "What is the capital of France?"}, DecontaminateParams())
    assert index.matches({"a": "what is the capital of france", "b": "What is the capital of Ghana?"})[
        "id"
    ].to_list() == ["a"]


def test_nothing_to_compare() -> None:
    assert len(BenchmarkIndex({}, DecontaminateParams()).matches({"a": passage(1)})) == 0
    assert matches({}).schema == {
        "id": pl.String,
        "matched_id": pl.String,
        "method": pl.String,
        "similarity": pl.Float64,
    }
