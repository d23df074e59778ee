"""Near copies: found whatever the punctuation, measured exactly, and different texts are left alone."""

import itertools

import numpy as np
import polars as pl
import pytest

from components.mining.duplicates import near_duplicates

WORDS = [f"{a}{b}" for a in "bcdfgh" for b in "aeiou"]


def pairs(*rows: tuple[int, int]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema={"left": pl.UInt32, "right": pl.UInt32}, orient="row")


def test_equal_but_for_case_and_punctuation() -> None:
    texts = {0: "The Earth is round!", 1: "the  earth, is round", 2: "the earth is flat"}
    found = near_duplicates(pairs((0, 1), (0, 2)), texts, threshold=0.5)
    assert found.rows() == [(0, 1, 1.0)]


def test_the_overlap_is_the_true_jaccard() -> None:
    random = np.random.default_rng(0)
    texts = {}
    for i in range(12):
        words = list(random.choice(WORDS, 60))
        texts[2 * i] = " ".join(words)
        texts[2 * i + 1] = " ".join(words[: int(random.integers(20, 60))])
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
    texts = {0: "what is rust", 1: "what is dust", 2: "What is RUST?"}
    found = near_duplicates(pairs((0, 1), (0, 2), (1, 2)), texts, 0.1)
    assert found.rows() == [(0, 2, 1.0)]


def test_no_pairs() -> None:
    empty = pl.DataFrame(schema={"left": pl.UInt32, "right": pl.UInt32})
    assert near_duplicates(empty, {}, 0.5).is_empty()


def test_the_same_long_words_in_another_order_are_a_copy() -> None:
    long = "The treaty was signed by seven nations. Fishing quotas were divided among coastal regions every spring."
    texts = {
        0: long,
        1: "Fishing quotas have been divided among the coastal regions every spring; seven nations signed a treaty",
        2: "Seven coastal nations signed another fishing agreement in winter, about different harbour fees entirely",
        3: "seven nations",
        4: "nations: seven of them",
    }
    pairs = pl.DataFrame({"left": [0, 0, 3], "right": [1, 2, 4]})
    assert near_duplicates(pairs, texts, 0.5)["right"].to_list() == [1]
