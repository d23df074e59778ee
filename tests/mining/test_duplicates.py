"""Near copies: found whatever the punctuation, measured exactly, and different texts are left alone."""

import itertools

import numpy as np
import polars as pl
import pytest

from components.mining.duplicates import near_duplicates

WORDS = [f"{a}{b}" for a in "bcdfgh" for b in "aeiou"]


def pairs(*rows: tuple[str, str]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=["left", "right"], orient="row")


def test_equal_but_for_case_and_punctuation() -> None:
    texts = {"a": "The Earth is round!", "b": "the  earth, is round", "c": "the earth is flat"}
    found = near_duplicates(pairs(("a", "b"), ("a", "c")), texts, threshold=0.5)
    assert found.rows() == [("a", "b", 1.0)]


def test_the_overlap_is_the_true_jaccard() -> None:
    random = np.random.default_rng(0)
    texts = {}
    for i in range(12):
        words = list(random.choice(WORDS, 60))
        texts[f"{i}"] = " ".join(words)
        texts[f"{i}-cut"] = " ".join(words[: int(random.integers(20, 60))])
    all_pairs = pairs(*itertools.combinations(sorted(texts), 2))
    got = {(a, b): overlap for a, b, overlap in near_duplicates(all_pairs, texts, 0.5).iter_rows()}
    words = {name: text.split() for name, text in texts.items()}
    grams = {
        name: set(itertools.pairwise(itertools.pairwise(own))) if len(own) >= 8 else set()
        for name, own in words.items()
    }
    true = {}
    for a, b in all_pairs.iter_rows():
        overlap = len(grams[a] & grams[b]) / len(grams[a] | grams[b])
        if overlap >= 0.5:
            true[a, b] = overlap
    assert got == pytest.approx(true)
    assert 3 < len(true) < 20


def test_short_texts_are_only_compared_for_equality() -> None:
    texts = {"a": "what is rust", "b": "what is dust", "c": "What is RUST?"}
    found = near_duplicates(pairs(("a", "b"), ("a", "c"), ("b", "c")), texts, 0.1)
    assert found.rows() == [("a", "c", 1.0)]


def test_no_pairs() -> None:
    empty = pl.DataFrame(schema={"left": pl.String, "right": pl.String})
    assert near_duplicates(empty, {}, 0.5).is_empty()


def test_the_same_long_words_in_another_order_are_a_copy() -> None:
    long = "The treaty was signed by seven nations. Fishing quotas were divided among coastal regions every spring."
    texts = {
        "a": long,
        "b": "Fishing quotas have been divided among the coastal regions every spring; seven nations signed a treaty",
        "c": "Seven coastal nations signed another fishing agreement in winter, about different harbour fees entirely",
        "d": "seven nations",
        "e": "nations: seven of them",
    }
    pairs = pl.DataFrame({"left": ["a", "a", "d"], "right": ["b", "c", "e"]})
    assert near_duplicates(pairs, texts, 0.5)["right"].to_list() == ["b"]
