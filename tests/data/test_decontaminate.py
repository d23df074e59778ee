"""Decontamination: planted copies and near copies are found and named, and nothing else is."""

import random

import polars as pl
import pytest

from components.config import DecontaminateParams
from components.data import decontaminate
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


def matches(training: dict[str, str], **params: float) -> pl.DataFrame:
    return BenchmarkIndex(BENCHMARK, DecontaminateParams(**params), threads=2).matches(training)


def trigrams(text: str) -> set[tuple[str, ...]]:
    words = text.split()
    return set(zip(words, words[1:], words[2:], strict=False))


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
    left, right = trigrams(text), trigrams(BENCHMARK["test/7"])
    overlap = len(left & right) / len(left | right)
    assert len(matches({"x": text}, threshold=overlap - 0.01, containment=1)) == 1
    assert len(matches({"x": text}, threshold=overlap + 0.01, containment=1)) == 0


@pytest.mark.slow
def test_no_match_is_missed_or_made_up() -> None:
    """Every pair is compared, over all shares of changed words: at the thresholds too, all are found and no other."""
    random_ = random.Random(0)
    training = {f"clean-{n}": passage(5000 + n) for n in range(50)}
    for n in range(300):
        words = BENCHMARK[f"test/{n % 200}"].split()
        for place in random_.sample(range(len(words)), random_.randint(1, 9)):
            words[place] = random_.choice(WORDS)
        around = random_.choice([0, 0, 30, 200])
        training[f"edited-{n}"] = " ".join([*passage(9000 + n, around).split(), *words])
    sets = {identity: trigrams(text) for identity, text in BENCHMARK.items()}
    expected = {}
    for identity, text in training.items():
        mine = trigrams(text)
        near = max(len(mine & its) / len(mine | its) for its in sets.values())
        part = max(len(mine & its) / len(its) for its in sets.values())
        if near >= 0.7 or part >= 0.7:
            expected[identity] = ("near", round(near, 6)) if near >= 0.7 else ("contains", round(part, 6))
    found = {identity: (method, share) for identity, _, method, share in matches(training).iter_rows()}
    assert found == expected
    at_the_threshold = [share for method, share in found.values() if method == "near" and share < 0.75]
    assert len(at_the_threshold) >= 10


def test_a_quoted_text_is_found_and_a_piece_of_one_is_not() -> None:
    quote = f"{passage(7000, 300)} {BENCHMARK['test/5']} {passage(7001, 300)}"
    piece = " ".join(BENCHMARK["test/6"].split()[:30])
    assert matches({"quote": quote, "piece": piece}).rows() == [("quote", "test/5", "contains", 1.0)]
    asked = {"t": "who was the first king of all the people"}  # of 9 words: too few to count as quoted
    index = BenchmarkIndex(asked, DecontaminateParams())
    assert len(index.matches({"a": f"{asked['t']} {passage(1)}"})) == 0


def test_the_answer_does_not_depend_on_blocks_and_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    training = {f"near-{n}": changed(BENCHMARK[f"test/{n}"], 2) for n in range(100)} | {"copy": BENCHMARK["test/3"]}
    whole = matches(training)
    monkeypatch.setattr(decontaminate, "_BLOCK", 500)
    monkeypatch.setattr(decontaminate, "_PAIRS", 3)
    index = BenchmarkIndex(BENCHMARK, DecontaminateParams(), threads=1)
    assert index.matches(iter(training.items())).equals(whole)
    assert len(whole) == 101


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
