"""What makes two texts the same: normalisation, n-grams, overlaps and their sketches."""

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.base.overlap import containment, jaccard, normalise, word_trigrams


@pytest.mark.parametrize(
    ("text", "with_punctuation", "without"),
    [
        ("A-b,  C!", "a-b, c!", "a b c"),
        ("Straße", "straße", "strasse"),
        ("¿Qué?", "¿qué?", "qué"),
        ("?!", "?!", "?!"),
        ("日本 語。", "日 本 語 。", "日 本 語"),
        ("ｶﾞｲﾄﾞ Ｎｏ．１", "ガ イ ド no.1", "ガ イ ド no 1"),
        ("Ou\u0300 e\u0301tait", "où était", "où était"),
        ("हिन्दी में", "हिन्दी में", "हिन्दी में"),
        ("  Is\tEarth\nROUND? ", "is earth round?", "is earth round"),
    ],
)
def test_normalise(text: str, with_punctuation: str, without: str) -> None:
    assert normalise(text, punctuation=True) == with_punctuation
    assert normalise(text, punctuation=False) == without


def test_without_punctuation_only_letters_marks_and_digits_are_kept() -> None:
    for letter in filter(lambda one: unicodedata.category(one) != "Cn", map(chr, range(0x2C00))):
        kept = normalise(f"a{letter}b", punctuation=False).replace(" ", "")
        assert all(one.isalnum() or unicodedata.category(one)[0] == "M" for one in kept), letter
        assert (kept == "ab") <= (not letter.isalnum()), letter


@pytest.mark.slow
@given(st.text(max_size=9), st.booleans())
@settings(max_examples=60, deadline=None)
def test_forms_of_a_character_are_one(text: str, punctuation: bool) -> None:
    forms = {normalise(unicodedata.normalize(form, text), punctuation=punctuation) for form in ("NFC", "NFD")}
    assert forms == {normalise(text, punctuation=punctuation)}


def test_a_text_below_the_least_number_of_words_has_no_trigrams() -> None:
    assert word_trigrams("a b c d", min_words=5) == frozenset()
    assert word_trigrams("a b c d", min_words=4) == {"a b c", "b c d"}
    assert word_trigrams("", min_words=0) == frozenset()


def test_jaccard() -> None:
    assert jaccard({"a", "b"}, {"a", "b"}) == 1
    assert jaccard({"a", "b", "c"}, {"b", "c", "d"}) == 0.5
    assert jaccard(set(), {"a"}) == jaccard(set(), set()) == 0


def test_containment_is_of_the_first_in_the_second() -> None:
    assert containment({"a", "b"}, {"b", "c", "d"}) == 0.5
    assert containment({"b", "c", "d"}, {"a", "b"}) == pytest.approx(1 / 3)
    assert containment(set(), {"a"}) == 0
