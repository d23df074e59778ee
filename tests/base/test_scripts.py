"""Scripts without spaces: a letter is a word where texts are compared, counted or cut, and two are one for BM25."""

import pytest

from components.base.scripts import cut_words, is_western, letters_apart, search_words


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("Pressガスを 3 回", ["Press", "ガ", "ス", "を", "3", "回"]),
        ("สวัสดี", ["ส", "วั", "ส", "ดี"]),  # marks stay with their letter
        ("한국어 단어", ["한국어", "단어"]),  # Korean has spaces
        ("कृपया देखें", ["कृपया", "देखें"]),
    ],
)
def test_letters_apart(text: str, pieces: list[str]) -> None:
    assert letters_apart(text).split() == pieces


@pytest.mark.parametrize(
    ("text", "words", "cut"),
    [
        ("a  b\n c", 2, "a  b"),
        (" a b ", 5, " a b "),
        (" a b c", 2, "a b"),
        ("如何重置路由器", 4, "如何重置"),
        ("USBの使い方 in short", 6, "USBの使い方 in"),
        ("naïve café au lait", 2, "naïve café"),
        ("a b", None, "a b"),
        ("", 1, ""),
    ],
)
def test_a_text_is_cut_by_words_and_else_as_it_is_written(text: str, words: int | None, cut: str) -> None:
    assert cut_words(text, words) == cut


def test_search_words_are_words_and_pairs_of_letters() -> None:
    assert search_words("A Fox-trot, 2 x 10") == ["fox", "trot", "10"]
    assert search_words("naïve Ｆｕｌｌ") == ["naïve", "full"]
    assert search_words("路由器 Wi-Fi、猫。") == ["wi", "fi", "路由", "由器", "猫"]


def test_a_quick_look_at_the_script() -> None:
    assert all(map(is_western, ["plain", "café “quoted” — 5 €", "Привет", "ελληνικά"]))
    assert not any(map(is_western, ["猫", "ネコ", "แมว", "e\u0301", "हिन्दी"]))
