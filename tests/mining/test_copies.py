"""Near copies: found with any punctuation, measured exactly, and different texts are left alone."""

import itertools

import numpy as np
import pytest

from components.base.threads import workers
from components.mining import copies
from components.mining.sketches import sketch_texts

WORDS = [f"{a}{b}" for a in "bcdfgh" for b in "aeiou"]


def near_duplicates(
    pairs: list[tuple[int, int]], texts: list[str], threshold: float, same_words: float = 0.75
) -> list[tuple[int, int, float]]:
    read = np.array(texts, dtype=object).__getitem__
    left, right = (np.array([pair[side] for pair in pairs], dtype=np.int64) for side in (0, 1))
    with workers(2) as pool:
        limits = {"trigrams": threshold, "long_words": same_words}
        return copies.near_duplicates(left, right, read, sketch_texts(read, len(texts), 2), limits, pool).rows()


def test_equal_but_for_case_and_punctuation() -> None:
    texts = ["The Earth is round!", "the  earth, is round", "the earth is flat"]
    assert near_duplicates([(0, 1), (0, 2), (0, 1)], texts, threshold=0.5) == [(0, 1, 1.0)]


def test_the_overlap_is_the_true_jaccard() -> None:
    random = np.random.default_rng(0)
    texts = []
    for _ in range(12):
        words = list(random.choice(WORDS, 60))
        texts += [" ".join(words), " ".join(words[: int(random.integers(20, 60))])]
    all_pairs = list(itertools.combinations(range(len(texts)), 2))
    got = {(a, b): overlap for a, b, overlap in near_duplicates(all_pairs, texts, 0.5)}
    grams = [set(itertools.pairwise(itertools.pairwise(text.split()))) for text in texts]
    true = {}
    for a, b in all_pairs:
        overlap = len(grams[a] & grams[b]) / len(grams[a] | grams[b])
        if overlap >= 0.5:
            true[a, b] = overlap
    assert got == pytest.approx(true)
    assert 3 < len(true) < 20


def test_short_texts_are_only_compared_for_equality() -> None:
    texts = ["what is rust", "what is dust", "What is RUST?"]
    assert near_duplicates([(0, 1), (0, 2), (1, 2)], texts, 0.1) == [(0, 2, 1.0)]


def test_no_pairs() -> None:
    assert near_duplicates([], [], 0.5) == []
    assert near_duplicates([], ["one text"], 0.5) == []


def test_the_same_long_words_in_another_order_are_a_copy() -> None:
    long = "The treaty was signed by seven nations. Fishing quotas were divided among coastal regions every spring."
    texts = [
        long,
        "Fishing quotas have been divided among the coastal regions every spring; seven nations signed a treaty",
        "Seven coastal nations signed another fishing agreement in winter, about different harbour fees entirely",
        "seven nations",
        "nations: seven of them",
    ]
    assert [pair[1] for pair in near_duplicates([(0, 1), (0, 2), (3, 4)], texts, 0.5)] == [1]


def test_variations_of_a_template_are_kept_at_a_limit_of_one() -> None:
    template = "To reset your {} hold its button for ten seconds until the light turns green and wait one minute"
    texts = [template.format(thing) for thing in ("router", "kettle", "Router!")]
    assert [pair[:2] for pair in near_duplicates([(0, 1), (0, 2)], texts, 0.5)] == [(0, 1), (0, 2)]
    assert near_duplicates([(0, 1), (0, 2)], texts, 1.0, same_words=1.0) == [(0, 2, 1.0)]


def test_near_copies_in_a_script_without_spaces() -> None:
    texts = [
        "关于退货的问题请您先登录网站在个人中心页面点击管理按钮然后按照提示填写相关信息",
        "关于换货的问题，请您先登录网站，在个人中心页面点击管理按钮，然后按照提示填写相关信息。",
        "我们的商店每天早上九点开门晚上八点关门欢迎您带家人前来参观并且享受优惠",
    ]
    assert [pair[:2] for pair in near_duplicates([(0, 1), (0, 2), (1, 2)], texts, 0.5)] == [(0, 1)]


def test_the_sketch_estimates_the_overlap_of_many_texts() -> None:
    """Estimates lie within the slack of the true overlap, so no copy at the threshold is missed."""
    random = np.random.default_rng(1)
    words = [f"word{i}" for i in range(5000)]
    texts = []
    for _ in range(60):
        own = list(random.choice(words, 100))
        changed = [str(random.choice(words)) if random.random() < 0.08 else word for word in own]
        texts += [" ".join(own), " ".join(changed)]
    pairs = [(2 * i, 2 * i + 1) for i in range(60)]
    true = []
    for a, b in pairs:
        left, right = (set(zip(*(texts[i].split()[k:] for k in range(3)), strict=False)) for i in (a, b))
        true.append(len(left & right) / len(left | right))
    found = {pair[:2]: pair[2] for pair in near_duplicates(pairs, texts, 0.5)}
    assert sum(overlap >= 0.5 for overlap in true) > 20
    for pair, overlap in zip(pairs, true, strict=True):
        if overlap >= 0.5:
            assert found[pair] == pytest.approx(overlap)
