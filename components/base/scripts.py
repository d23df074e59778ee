"""Words of any script: what is counted, compared and searched where a script puts no spaces between its words.

Chinese, Japanese, Thai, Lao, Khmer and Burmese texts are one long "word" to code that splits at spaces. Here a letter
of such a script (with the marks on it) is a word of its own where texts are compared, counted or cut, so an n-gram of
words is one of letters; and for BM25 each two neighbouring letters are a word, as in Lucene's CJK analyser.
"""

import re
import unicodedata
from itertools import pairwise

import regex

_LETTER = r"(?:[[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]&&\p{L}ー]\p{M}*)"
_ONE = regex.compile(_LETTER, regex.V1)
_RUN = regex.compile(f"{_LETTER}+", regex.V1)
_CUT = regex.compile(rf"{_LETTER}|(?:(?!{_LETTER})\S)+", regex.V1)  # what counts as one word
_WORD = re.compile(r"(?u)\b\w\w+\b")  # bm25s' default
_RARE = re.compile("[\u0300-\u036f\u0483-\u0489\u0590-\u1dff\u20d0-\u20ff\u2c00-\uffff\U00010000-\U0010ffff]")


def is_western(text: str) -> bool:
    """Whether a text (in NFKC) has neither letters of scripts without spaces nor combining marks: a quick look."""
    return _RARE.search(text) is None


def letters_apart(text: str) -> str:
    """The text with spaces around each letter of a script without spaces.

    >>> letters_apart("USBの使い方").split()
    ['USB', 'の', '使', 'い', '方']
    """
    return _ONE.sub(r" \g<0> ", text)


def cut_words(text: str, words: int | None) -> str:
    """The first `words` words of a text, as they are written; the text unchanged if it has no more.

    >>> cut_words("a  b c", 2), cut_words("使い方を見る", 3)
    ('a  b', '使い方')
    """
    if words is None or len(text) <= words:
        return text
    if text.isascii() or is_western(text):
        if len(text) < 2 * words:  # a word and a space are two
            return text
        parts = text.split(None, words)
        return text if len(parts) <= words else text[: len(text) - len(parts[-1])].strip()
    end = 0
    for number, word in enumerate(_CUT.finditer(text)):
        if number == words:
            return text[:end].strip()
        end = word.end()
    return text


def search_words(text: str) -> list[str]:
    """The lower-case words that BM25 knows a text by: of two letters or more, and pairs of neighbouring letters.

    >>> search_words("A new USBの使い方"), search_words("猫 cat")
    (['new', 'usb', 'の使', '使い', 'い方'], ['cat', '猫'])
    """
    lowered = text.lower()
    if lowered.isascii():
        return _WORD.findall(lowered)
    lowered = unicodedata.normalize("NFKC", lowered)
    runs = [] if is_western(lowered) else _RUN.findall(lowered)
    if not runs:
        return _WORD.findall(lowered)
    pairs = [pair for run in runs for pair in _pairs(run)]
    return [*_WORD.findall(_RUN.sub(" ", lowered)), *pairs]


def _pairs(run: str) -> list[str]:
    letters = _ONE.findall(run)
    return [first + second for first, second in pairwise(letters)] or letters
