"""Near-duplicate texts: normalisation, word trigrams, Jaccard and containment.

Pure functions. Each caller passes its own thresholds, minimum lengths and normalisation:

    prepare, decontaminate   no punctuation   trigrams of 8 words or more, Jaccard, and containment from 13 words
    prepare, hard documents  punctuation      single words, Jaccard
    mine, copies             no punctuation   trigrams of 8 words or more, then long words, Jaccard
    select_shots, guard      punctuation      trigrams of 6 words or more, containment in the longer text
    prepare, splits          punctuation      equal texts only
"""

import re
import unicodedata
from collections.abc import Set

import regex

from components.base.scripts import is_western, letters_apart

SHINGLE = 3  # words in a word n-gram
_NOT_ALNUM = re.compile(r"[\W_]+")  # matches what str.isalnum denies
_NOT_WORD = regex.compile(r"[^\p{L}\p{N}\p{M}]+")
_ASCII = {code: " " for code in range(128) if not chr(code).isalnum()}


def normalise(text: str, *, punctuation: bool) -> str:
    """The form in which two texts are compared for equality; words are separated by single spaces.

    Forms of one character are equal (NFKC: composed or not, full or half width), and a letter of a script without
    spaces is a word of its own (scripts.py).

    Args:
        text: the source text.
        punctuation: True keeps it and lower-cases. False keeps letters, their marks and digits only, case-folded; the
            text itself if nothing is left.

    >>> normalise(" Is  Earth (the planet) ROUND?", punctuation=True)
    'is earth (the planet) round?'
    >>> normalise(" Is  Earth (the planet) ROUND?", punctuation=False)
    'is earth the planet round'
    >>> normalise("ＵＳＢの使い方", punctuation=False)
    'usb の 使 い 方'
    """
    if text.isascii():
        folded = text.lower()
        kept = folded if punctuation else folded.translate(_ASCII)
    else:
        folded = unicodedata.normalize("NFKC", text)
        folded = folded.lower() if punctuation else folded.casefold()
        western = is_western(folded)
        kept = folded if punctuation else (_NOT_ALNUM if western else _NOT_WORD).sub(" ", folded)
        kept = kept if western else letters_apart(kept)
    return " ".join(kept.split()) or folded


def word_trigrams(normalised: str, *, min_words: int) -> frozenset[str]:
    """Word trigrams of a normalised text; empty below `min_words` words, as short texts share most of them by chance.

    >>> sorted(word_trigrams("a b c d", min_words=4))
    ['a b c', 'b c d']
    """
    words = normalised.split()
    if len(words) < min_words:
        return frozenset()
    return frozenset(" ".join(words[start : start + SHINGLE]) for start in range(len(words) - SHINGLE + 1))


def jaccard(left: Set[str], right: Set[str]) -> float:
    """|left and right| / |left or right|; 0 when one is empty.

    >>> jaccard({"a", "b"}, {"b", "c"})
    0.3333333333333333
    """
    return len(left & right) / len(left | right) if left and right else 0.0


def containment(part: Set[str], whole: Set[str]) -> float:
    """The share of `part` that `whole` has; 0 when `part` is empty.

    >>> containment({"a", "b"}, {"b", "c", "d"})
    0.5
    """
    return len(part & whole) / len(part) if part else 0.0
