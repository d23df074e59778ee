"""Which split gets which groups: whole groups, never too many, and training keeps most of a small source."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.data.assign import SPLITS, Pool, plan_sizes
from components.data.splits import Edges, Group, groups


@pytest.mark.parametrize(
    ("asked", "own", "common", "sizes"),
    [
        ((40, 10, 15), {}, 90, (40, 10, 15)),  # enough
        ((5000, 200, 500), {}, 60, (48, 3, 9)),  # a fifth, in proportion
        ((5000, 200, 500), {}, 5000, (4300, 200, 500)),  # a fifth is more than they ask
        ((100_000, 200, 0), {}, 50_000, (49_800, 200, 0)),
        ((9, 0, 99), {}, 90, (8, 0, 82)),  # the share of what is asked is more than a fifth
        ((0, 0, 300), {}, 211, (0, 0, 211)),
        ((60, 10, 30), {"test": 30}, 60, (50, 10, 30)),  # the source states train and test
        ((5, 5, 5), {}, 3, (1, 1, 1)),
        ((5, 5, 5), {}, 2, (1, 0, 1)),
        ((5000, 200, 500), {}, 4, (2, 1, 1)),
        ((5, 0, 5), {"test": 9}, 0, (0, 0, 5)),
    ],
)
def test_sizes(asked: tuple[int, ...], own: dict[str, int], common: int, sizes: tuple[int, ...]) -> None:
    assert plan_sizes(dict(zip(SPLITS, asked, strict=True)), own, common) == dict(zip(SPLITS, sizes, strict=True))


counts = st.integers(0, 40)


@given(st.tuples(counts, counts, counts), st.tuples(counts, counts, counts), counts)
def test_no_split_gets_more_than_it_asks_or_more_than_there_is(
    asked: tuple[int, ...], own: tuple[int, ...], common: int
) -> None:
    wanted, alone = dict(zip(SPLITS, asked, strict=True)), dict(zip(SPLITS, own, strict=True))
    sizes = plan_sizes(wanted, alone, common)
    assert all(0 <= sizes[split] <= wanted[split] for split in SPLITS)
    taken = sum(max(0, sizes[split] - alone[split]) for split in SPLITS)
    assert taken == min(common, sum(max(0, wanted[split] - alone[split]) for split in SPLITS))


def pool_of(pairs: list[tuple[int, int]]) -> Pool:
    queries, documents = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    every = np.arange(13)
    return Pool(groups(Edges(queries, documents, [None] * len(pairs), every, every)))


@given(
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), min_size=1, max_size=40),
    st.integers(0, 10),
    st.integers(0, 10),
)
def test_take_moves_whole_groups_and_never_too_many(pairs: list[tuple[int, int]], test: int, dev: int) -> None:
    pool = pool_of(pairs)
    everything = {query for group in pool.groups for query in group.queries}
    held = {"test": pool.take("test", test), "dev": pool.take("dev", dev)}
    for split, wanted in (("test", test), ("dev", dev)):
        assert sum(len(group.queries) for group in held[split]) <= wanted
    parts = [{document for group in part for document in group.documents} for part in (*held.values(), pool.groups)]
    assert sum(map(len, parts)) == len(set.union(*parts))
    kept = sum(len(group.queries) for part in (*held.values(), pool.groups) for group in part)
    assert kept + pool.cut == len(everything)


def test_the_largest_group_is_left_for_training() -> None:
    pool = Pool([Group([10 * size + n for n in range(size)], [size]) for size in (9, 4, 3)])
    assert [len(group.queries) for group in pool.take("test", 2)] == [2]
    assert [len(group.queries) for group in pool.groups] == [9, 4]
    assert pool.cut == 1


def test_a_stated_split_is_kept_and_one_that_is_not_stated_is_taken_from_train() -> None:
    def pool() -> Pool:
        return Pool([Group([1], [1], "train"), Group([2], [2], "test"), Group([3], [3])])

    assert [group.queries for group in pool().take("test", 5)] == [[2], [3]]
    assert [group.queries for group in pool().take("dev", 5)] == [[1], [3]]
    assert [group.queries for group in pool().take("train", 5)] == [[1], [3]]
    assert pool().plan({"train": 9, "dev": 1, "test": 1}) == {"train": 1, "dev": 1, "test": 1}


def test_training_is_filled_from_the_end_by_cutting_one_group() -> None:
    pool = Pool([Group([10 * size + n for n in range(size)], [size]) for size in (5, 2, 1)])
    assert [group.queries for group in pool.take_from_end("train", 6)] == [[10], [20, 21], [50, 51, 52]]
    assert pool.groups == []
    assert pool.take_from_end("train", 6) == []


def test_a_query_that_a_split_has_no_use_for_takes_no_place() -> None:
    pool = Pool([Group([0, 1], [0]), Group([2], [1]), Group([3], [2])], {"test": frozenset([0, 2])})
    assert [group.queries for group in pool.take("test", 2)] == [[1], [3]]
    assert pool.size("train") == 1


def test_a_few_large_groups_cannot_give_small_splits() -> None:
    pool = Pool([Group(list(range(30 * n, 30 * n + 30)), [n]) for n in range(3)])
    assert pool.is_short({"train": 60, "dev": 5, "test": 20})
    assert not pool.is_short({"train": 30, "dev": 30, "test": 30})
    assert len(pool.large()) == 3
    assert Pool([Group([n], [n]) for n in range(30)]).large() == []
