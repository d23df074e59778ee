"""Near-duplicate texts: normalisation, word n-grams, Jaccard and MinHash.

Pure functions. Each caller passes its own thresholds, minimum lengths and normalisation:

    prepare, decontaminate   no punctuation   trigrams of 8 words or more, Jaccard, and containment from 13 words
    prepare, hard documents  punctuation      single words, Jaccard
    mine, copies             no punctuation   trigrams of 8 words or more, then long words, Jaccard
    select_shots, guard      punctuation      trigrams of 6 words or more, containment in the longer text
    prepare, splits          punctuation      equal texts only
"""

import re
from collections.abc import Iterable, Iterator, Set
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datasketch import MinHash

SHINGLE = 3  # words in a word n-gram
_NOT_ALNUM = re.compile(r"[\W_]+")  # matches what str.isalnum denies
_ASCII = {code: " " for code in range(128) if not chr(code).isalnum()}
_SEED = 1  # of the hash permutations; arbitrary, but must not change


def normalise(text: str, *, punctuation: bool) -> str:
    """The form in which two texts are compared for equality; words are separated by single spaces.

    Args:
        text: the source text.
        punctuation: True keeps it and lower-cases (splits are hashed from this form, so it must not change). False
            keeps letters and digits only, case-folded; the text itself if nothing is left.

    >>> normalise(" Is  Earth (the planet) ROUND?", punctuation=True)
    'is earth (the planet) round?'
    >>> normalise(" Is  Earth (the planet) ROUND?", punctuation=False)
    'is earth the planet round'
    """
    if punctuation:
        return " ".join(text.lower().split())
    folded = text.casefold()
    kept = folded.translate(_ASCII) if folded.isascii() else _NOT_ALNUM.sub(" ", folded)
    return " ".join(kept.split()) or text


def word_ngrams(normalised: str, *, min_words: int, size: int = SHINGLE) -> frozenset[str]:
    """Word n-grams of a normalised text; empty below `min_words` words, as short texts share most n-grams by chance.

    >>> sorted(word_ngrams("a b c d", min_words=4))
    ['a b c', 'b c d']
    """
    words = normalised.split()
    if len(words) < min_words:
        return frozenset()
    return frozenset(" ".join(words[start : start + size]) for start in range(len(words) - size + 1))


def distinct_words(normalised: str, *, min_letters: int = 1, min_words: int = 1) -> frozenset[str]:
    """Words of at least `min_letters` letters; empty below `min_words` words."""
    found = frozenset(word for word in normalised.split() if len(word) >= min_letters)
    return found if len(found) >= min_words else frozenset()


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


def minhashes(sets: Iterable[Set[str]], permutations: int) -> Iterator["MinHash"]:
    """MinHash sketches: the share of equal values estimates Jaccard (Broder 1997), with a standard error of at most
    1 / (2 sqrt(permutations))."""
    from datasketch import MinHash  # a second to import

    empty = MinHash(num_perm=permutations, seed=_SEED)
    for found in sets:
        sketch = empty.copy()
        sketch.update_batch([one.encode() for one in found])
        yield sketch
