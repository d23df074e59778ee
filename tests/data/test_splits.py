"""Splits: texts that touch stay together, the order hangs on nothing but seed, source and text, and counts are kept."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.data.splits import Edges, Group, divide, groups, sort_by_hash


def edges_of(pairs: list[tuple[int, int]], splits: list[str | None] | None = None, **same: dict[int, int]) -> Edges:
    queries, documents = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    first = {
        side: np.arange(int(own.max(initial=-1)) + 1) for side, own in (("query", queries), ("document", documents))
    }
    for side, changes in same.items():
        for number, other in changes.items():
            first[side][number] = other
    return Edges(queries, documents, splits or [None] * len(pairs), first["query"], first["document"])


def groups_of(pairs: list[tuple[int, int]], splits: list[str | None] | None = None) -> list[Group]:
    return groups(edges_of(pairs, splits))


def test_a_shared_document_joins_its_queries() -> None:
    found = groups_of([(1, 5), (0, 2), (3, 5), (-1, 3), (4, -1)])
    assert [(group.queries, group.documents) for group in found] == [
        ([1, 3], [5]),
        ([0], [2]),
        ([], [3]),
        ([4], []),
    ]
    assert groups_of([]) == []


def test_documents_are_in_the_order_of_the_rows_that_join_them() -> None:
    assert groups_of([(0, 7), (0, 3), (1, 9), (1, 3)]) == [Group([0, 1], [7, 3, 9])]


def test_a_query_and_a_document_of_the_same_number_are_two_things() -> None:
    assert len(groups_of([(0, 1), (2, 0)])) == 2


@pytest.mark.parametrize(
    ("stated", "pinned"),
    [(["train", "test"], "test"), (["dev", "train"], "dev"), ([None, "train"], "train"), ([None], None)],
)
def test_the_strictest_stated_split_holds_for_the_group(stated: list[str | None], pinned: str | None) -> None:
    assert groups_of([(number, 0) for number in range(len(stated))], stated)[0].pinned == pinned


edges = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), min_size=1, max_size=40)


@pytest.mark.slow
@given(edges)
def test_groups_are_a_partition_and_no_edge_leaves_its_group(pairs: list[tuple[int, int]]) -> None:
    found = groups_of(pairs)
    queries = [query for group in found for query in group.queries]
    assert sorted(queries) == sorted({query for query, _ in pairs})
    for query, document in pairs:
        assert [document in group.documents for group in found if query in group.queries] == [True]


def test_one_more_text_moves_no_other() -> None:
    def order(texts: list[str], seed: int = 3) -> list[str]:
        found = groups_of([(number, -1) for number in range(len(texts))])
        return [texts[group.queries[0]] for group in sort_by_hash(found, texts, seed, "s")]

    texts = [f"text {number}" for number in range(30)]
    assert [text for text in order([*texts, "new"]) if text != "new"] == order(texts)
    assert order(texts, seed=4) != order(texts)
    assert sorted(order(texts)) == sorted(texts)


def test_another_spelling_is_in_the_same_group_and_has_its_own_number() -> None:
    found = groups(edges_of([(0, 0), (1, 1), (2, 2), (3, 3)], query={2: 0}, document={3: 1}))
    assert [(group.queries, group.documents) for group in found] == [([0, 2], [0, 2]), ([1, 3], [1, 3])]


def test_a_group_is_divided_by_query_and_keeps_what_the_source_states_for_each() -> None:
    edges = edges_of([(0, 0), (1, 0), (2, 0), (3, 0)], ["train", "test", None, "dev"], query={3: 1})
    (whole,) = groups(edges)
    assert (whole.pinned, edges.count_overruled([whole])) == ("test", 2)
    parts = divide(whole, edges, lambda queries: [0])
    assert [(part.queries, part.documents, part.pinned) for part in parts] == [
        ([0], [0], "train"),
        ([1, 3], [0], "test"),
        ([2], [0], None),
    ]
    assert edges.count_stated() == {"test": 1, "dev": 1, "train": 1}
