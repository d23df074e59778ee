"""Splits: texts that touch stay together, the order hangs on nothing but seed, source and text, and counts are kept."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.data.splits import Group, groups, sort_by_hash, take_groups, take_groups_from_end


def test_a_shared_document_joins_its_queries() -> None:
    found = groups([("q1", "d1", None), ("q2", "d2", None), ("q3", "d1", None), (None, "d3", None)])
    assert [(group.queries, group.documents) for group in found] == [
        (["q1", "q3"], ["d1"]),
        (["q2"], ["d2"]),
        ([], ["d3"]),
    ]


def test_a_query_and_a_document_of_the_same_name_are_two_things() -> None:
    assert len(groups([("same", "a", None), ("b", "same", None)])) == 2


@pytest.mark.parametrize(
    ("stated", "pinned"),
    [(["train", "test"], "test"), (["dev", "train"], "dev"), ([None, "train"], "train"), ([None], None)],
)
def test_the_strictest_stated_split_holds_for_the_group(stated: list[str | None], pinned: str | None) -> None:
    assert groups([(f"q{number}", "d", split) for number, split in enumerate(stated)])[0].pinned == pinned


edges = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), min_size=1, max_size=40)


@given(edges)
def test_groups_are_a_partition_and_no_edge_leaves_its_group(pairs: list[tuple[int, int]]) -> None:
    found = groups([(f"q{query}", f"d{document}", None) for query, document in pairs])
    queries = [query for group in found for query in group.queries]
    assert sorted(queries) == sorted({f"q{query}" for query, _ in pairs})
    for query, document in pairs:
        assert [f"d{document}" in group.documents for group in found if f"q{query}" in group.queries] == [True]


@given(edges, st.integers(0, 10), st.integers(0, 10))
def test_take_moves_whole_groups_and_never_too_many(pairs: list[tuple[int, int]], test: int, dev: int) -> None:
    pool = sort_by_hash(groups([(f"q{query}", f"d{document}", None) for query, document in pairs]), 1, "s")
    everything = {query for group in pool for query in group.queries}
    held = {"test": take_groups(pool, "test", test), "dev": take_groups(pool, "dev", dev)}
    for split, wanted in (("test", test), ("dev", dev)):
        assert sum(len(group.queries) for group in held[split]) <= wanted
    parts = [{document for group in part for document in group.documents} for part in (*held.values(), pool)]
    assert sum(map(len, parts)) == len(set.union(*parts))
    assert {query for group in pool for query in group.queries} <= everything


def test_the_largest_group_is_left_for_training() -> None:
    pool = [Group([f"{size}-{n}" for n in range(size)], [f"d{size}"]) for size in (9, 4, 3)]
    assert [len(group.queries) for group in take_groups(pool, "test", 2)] == [2]
    assert [len(group.queries) for group in pool] == [9, 4]


def test_a_stated_split_is_kept() -> None:
    pool = [Group(["a"], ["da"], "train"), Group(["b"], ["db"], "test"), Group(["c"], ["dc"])]
    assert [group.queries for group in take_groups(pool, "test", 5)] == [["b"], ["c"]]
    assert take_groups(pool, "dev", 5) == []
    assert [group.queries for group in take_groups(pool, "train", 5)] == [["a"]]


def test_one_more_text_moves_no_other() -> None:
    def order(texts: list[str], seed: int = 3) -> list[str]:
        return [group.queries[0] for group in sort_by_hash(groups([(text, text, None) for text in texts]), seed, "s")]

    texts = [f"text {number}" for number in range(30)]
    assert [text for text in order([*texts, "new"]) if text != "new"] == order(texts)
    assert order(texts, seed=4) != order(texts)
    assert sorted(order(texts)) == sorted(texts)


def test_training_is_filled_from_the_end_by_cutting_one_group() -> None:
    pool = [Group([f"{size}-{n}" for n in range(size)], [f"d{size}"]) for size in (5, 2, 1)]
    assert [group.queries for group in take_groups_from_end(pool, "train", 6)] == [
        ["1-0"],
        ["2-0", "2-1"],
        ["5-0", "5-1", "5-2"],
    ]
    assert pool == []
    assert take_groups_from_end(pool, "train", 6) == []
