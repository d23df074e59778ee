"""Hashed trigrams: equal where the trigrams are, in text order, with repeats."""

import random

from components.base.overlap import word_trigrams
from components.base.shingles import hash_shingles


def test_equal_trigrams_and_only_those_have_equal_hashes() -> None:
    random_ = random.Random(0)
    words = [*"abcdefghijklmnop", "été", "日本", "aa", "ab", "longer"]
    texts = [" ".join(random_.choices(words, k=random_.randint(1, 40))) for _ in range(500)]
    hashes, numbers = hash_shingles(texts, min_words=5)
    expected = []
    for number, text in enumerate(texts):
        parts = text.split()
        found = [" ".join(parts[i : i + 3]) for i in range(len(parts) - 2)] if len(parts) >= 5 else []
        expected += [(number, trigram) for trigram in found]
        assert set(found) == word_trigrams(text, min_words=5)
    assert numbers.tolist() == [number for number, _ in expected]
    pairs = set(zip(hashes.tolist(), (trigram for _, trigram in expected), strict=True))
    assert len(pairs) == len({trigram for _, trigram in expected}) == len(set(hashes.tolist()))


def test_the_hash_does_not_depend_on_the_block() -> None:
    text = "one two three four five"
    alone = hash_shingles([text], min_words=3).hashes
    later = hash_shingles(["x" * 10_000, "a b", text], min_words=3)
    assert later.hashes.tolist() == alone.tolist()
    assert set(later.texts.tolist()) == {2}
    assert len(hash_shingles([], min_words=3).hashes) == len(hash_shingles(["a b"], min_words=1).hashes) == 0
