"""Splits: texts that touch stay together, the order hangs on nothing but seed, source and text, and counts are kept."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.data.splits import Group, sort_by_hash, take_groups, take_groups_from_end
from components.data.splits import groups as groups_of


def groups(edges: list[tuple[int, int]], splits: list[str | None] | None = None) -> list[Group]:
    queries, documents = np.array(edges, dtype=np.int64).reshape(-1, 2).T
    return groups_of(queries, documents, splits or [None] * len(edges))


def test_a_shared_document_joins_its_queries() -> None:
    found = groups([(1, 5), (0, 2), (3, 5), (-1, 3), (4, -1)])
    assert [(group.queries, group.documents) for group in found] == [
        ([1, 3], [5]),
        ([0], [2]),
        ([], [3]),
        ([4], []),
    ]
    assert groups([]) == []


def test_documents_are_in_the_order_of_the_rows_that_join_them() -> None:
    assert groups([(0, 7), (0, 3), (1, 9), (1, 3)]) == [Group([0, 1], [7, 3, 9])]


def test_a_query_and_a_document_of_the_same_number_are_two_things() -> None:
    assert len(groups([(0, 1), (2, 0)])) == 2


@pytest.mark.parametrize(
    ("stated", "pinned"),
    [(["train", "test"], "test"), (["dev", "train"], "dev"), ([None, "train"], "train"), ([None], None)],
)
def test_the_strictest_stated_split_holds_for_the_group(stated: list[str | None], pinned: str | None) -> None:
    assert groups([(number, 0) for number in range(len(stated))], stated)[0].pinned == pinned


edges = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), min_size=1, max_size=40)


@given(edges)
def test_groups_are_a_partition_and_no_edge_leaves_its_group(pairs: list[tuple[int, int]]) -> None:
    found = groups(pairs)
    queries = [query for group in found for query in group.queries]
    assert sorted(queries) == sorted({query for query, _ in pairs})
    for query, document in pairs:
        assert [document in group.documents for group in found if query in group.queries] == [True]


@given(edges, st.integers(0, 10), st.integers(0, 10))
def test_take_moves_whole_groups_and_never_too_many(pairs: list[tuple[int, int]], test: int, dev: int) -> None:
    pool = groups(pairs)
    pool = sort_by_hash(pool, [f"{group.queries[0]}" for group in pool], 1, "s")
    everything = {query for group in pool for query in group.queries}
    held = {"test": take_groups(pool, "test", test), "dev": take_groups(pool, "dev", dev)}
    for split, wanted in (("test", test), ("dev", dev)):
        assert sum(len(group.queries) for group in held[split]) <= wanted
    parts = [{document for group in part for document in group.documents} for part in (*held.values(), pool)]
    assert sum(map(len, parts)) == len(set.union(*parts))
    assert {query for group in pool for query in group.queries} <= everything


def test_the_largest_group_is_left_for_training() -> None:
    pool = [Group([10 * size + n for n in range(size)], [size]) for size in (9, 4, 3)]
    assert [len(group.queries) for group in take_groups(pool, "test", 2)] == [2]
    assert [len(group.queries) for group in pool] == [9, 4]


def test_a_stated_split_is_kept() -> None:
    pool = [Group([1], [1], "train"), Group([2], [2], "test"), Group([3], [3])]
    assert [group.queries for group in take_groups(pool, "test", 5)] == [[2], [3]]
    assert take_groups(pool, "dev", 5) == []
    assert [group.queries for group in take_groups(pool, "train", 5)] == [[1]]


def test_one_more_text_moves_no_other() -> None:
    def order(texts: list[str], seed: int = 3) -> list[str]:
        found = groups([(number, -1) for number in range(len(texts))])
        return [texts[group.queries[0]] for group in sort_by_hash(found, texts, seed, "s")]

    texts = [f"text {number}" for number in range(30)]
    assert [text for text in order([*texts, "new"]) if text != "new"] == order(texts)
    assert order(texts, seed=4) != order(texts)
    assert sorted(order(texts)) == sorted(texts)


def test_training_is_filled_from_the_end_by_cutting_one_group() -> None:
    pool = [Group([10 * size + n for n in range(size)], [size]) for size in (5, 2, 1)]
    assert [group.queries for group in take_groups_from_end(pool, "train", 6)] == [[10], [20, 21], [50, 51, 52]]
    assert pool == []
    assert take_groups_from_end(pool, "train", 6) == []
