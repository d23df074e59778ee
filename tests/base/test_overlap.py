"""What makes two texts the same: normalisation, n-grams, overlaps and their sketches."""

import numpy as np
import pytest

from components.base.overlap import containment, distinct_words, jaccard, minhashes, normalise, word_ngrams


@pytest.mark.parametrize(
    ("text", "with_punctuation", "without"),
    [
        ("A-b,  C!", "a-b, c!", "a b c"),
        ("Straße", "straße", "strasse"),
        ("¿Qué?", "¿qué?", "qué"),
        ("?!", "?!", "?!"),
        ("日本 語", "日本 語", "日本 語"),
        ("  Is\tEarth\nROUND? ", "is earth round?", "is earth round"),
    ],
)
def test_normalise(text: str, with_punctuation: str, without: str) -> None:
    assert normalise(text, punctuation=True) == with_punctuation
    assert normalise(text, punctuation=False) == without


def test_without_punctuation_only_letters_and_digits_are_kept() -> None:
    every = [letter for letter in map(chr, range(0x11000)) if letter.casefold() == letter and len(letter) == 1]
    kept = "".join(letter if letter.isalnum() else " " for letter in every)
    assert normalise("".join(every), punctuation=False) == " ".join(kept.split())


def test_a_text_below_the_least_number_of_words_has_no_ngrams() -> None:
    assert word_ngrams("a b c d", min_words=5) == frozenset()
    assert word_ngrams("a b c d", min_words=4) == {"a b c", "b c d"}
    assert word_ngrams("a b c d", min_words=1, size=2) == {"a b", "b c", "c d"}
    assert word_ngrams("", min_words=0) == frozenset()


def test_distinct_words_count_once_and_from_a_length_on() -> None:
    assert distinct_words("long words, long words, in it") == {"long", "words,", "in", "it"}
    assert distinct_words("long words long words in it", min_letters=4, min_words=2) == {"long", "words"}
    assert distinct_words("long words long words in it", min_letters=4, min_words=3) == frozenset()


def test_jaccard() -> None:
    assert jaccard({"a", "b"}, {"a", "b"}) == 1
    assert jaccard({"a", "b", "c"}, {"b", "c", "d"}) == 0.5
    assert jaccard(set(), {"a"}) == jaccard(set(), set()) == 0


def test_containment_is_of_the_first_in_the_second() -> None:
    assert containment({"a", "b"}, {"b", "c", "d"}) == 0.5
    assert containment({"b", "c", "d"}, {"a", "b"}) == pytest.approx(1 / 3)
    assert containment(set(), {"a"}) == 0


def test_minhashes_estimate_jaccard_and_are_the_same_every_time() -> None:
    random = np.random.default_rng(0)
    left = {str(number) for number in random.integers(0, 300, 200)}
    right = {str(number) for number in random.integers(0, 300, 200)}
    first, second = ([sketch.hashvalues for sketch in minhashes([left, right], 256)] for _ in range(2))
    np.testing.assert_array_equal(first, second)
    estimate = (first[0] == first[1]).mean()
    assert estimate == pytest.approx(jaccard(left, right), abs=0.1)
