"""Train, dev and test splits by connected components of shared texts, in seeded-hash order.

Two queries with a document in common are in one group, and so is a repeated query; a group is in one split only, so no
test passage is a training passage. The order depends only on the seed, the source and the texts of the group: adding a
row to a source moves no other row, and two tasks on one source hold out the same groups.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field


@dataclass
class Group:
    """Queries and documents (by key, in source order) that must be in the same split."""

    queries: list[str] = field(default_factory=list)
    documents: list[str] = field(default_factory=list)
    pinned: str | None = None  # the split given by the source


def groups(edges: Iterable[tuple[str | None, str, str | None]]) -> list[Group]:
    """Connected groups of (query key or None, document key, given split or None), in order of first appearance.

    A group with rows of several given splits gets the strictest: test before dev before train.
    """
    parent: dict[tuple[str, str], tuple[str, str]] = {}
    stated: dict[tuple[str, str], str] = {}
    for query, document, split in edges:
        right = ("d", document)
        left = right if query is None else ("q", query)
        parent[_root(parent, left)] = _root(parent, right)
        if split is not None:
            stated[left] = min(split, stated.get(left, split), key=_STRICTEST.index)
    by_root: dict[tuple[str, str], Group] = {}
    for node in parent:
        group = by_root.setdefault(_root(parent, node), Group())
        (group.queries if node[0] == "q" else group.documents).append(node[1])
        if node in stated:
            group.pinned = min(stated[node], group.pinned or stated[node], key=_STRICTEST.index)
    return list(by_root.values())


_STRICTEST = ("test", "dev", "train")


def _root(parent: dict[tuple[str, str], tuple[str, str]], node: tuple[str, str]) -> tuple[str, str]:
    while parent.setdefault(node, node) != node:
        parent[node] = parent[parent[node]]
        node = parent[node]
    return node


def rank(seed: int, source: str, key: str) -> str:
    """Sort key of a text in its source: a hash, independent of the other texts."""
    return hashlib.sha256(f"{seed}\0{source}\0{key}".encode()).hexdigest()


def sort_by_hash(pool: Sequence[Group], seed: int, source: str) -> list[Group]:
    """Groups sorted by the hash of their alphabetically first text."""
    return sorted(pool, key=lambda group: rank(seed, source, min([*group.queries, *group.documents])))


def take_groups(pool: list[Group], split: str, queries: int) -> list[Group]:
    """Move groups with at most `queries` queries in all out of `pool`, in order; larger groups are skipped.

    If no group is small enough, the smallest is taken and truncated: a source with a few large groups keeps the largest
    for training.
    """
    taken = _take_fitting(pool, split, queries)
    return taken if taken else _take_truncated(pool, split, queries)


def take_groups_from_end(pool: list[Group], split: str, queries: int) -> list[Group]:
    """Like `take_groups` but from the end, truncating a group to reach `queries` exactly; used for training splits.

    From the end: away from the groups that other tasks on the same source hold out.
    """
    pool.reverse()
    taken = _take_fitting(pool, split, queries)
    missing = queries - sum(len(group.queries) for group in taken)
    taken += _take_truncated(pool, split, missing)
    pool.reverse()
    return taken


def _take_fitting(pool: list[Group], split: str, queries: int) -> list[Group]:
    taken: list[Group] = []
    for group in _allowed(pool, split):
        if len(group.queries) <= queries:
            taken.append(group)
            queries -= len(group.queries)
    _remove(pool, taken)
    return taken


def _take_truncated(pool: list[Group], split: str, queries: int) -> list[Group]:
    allowed = _allowed(pool, split) if queries else []
    if not allowed:
        return []
    smallest = min(allowed, key=lambda group: len(group.queries))
    _remove(pool, [smallest])
    return [Group(smallest.queries[:queries], smallest.documents, smallest.pinned)]


def _allowed(pool: list[Group], split: str) -> list[Group]:
    return [group for group in pool if group.queries and group.pinned in (None, split)]


def _remove(pool: list[Group], taken: list[Group]) -> None:
    removed = {id(group) for group in taken}
    pool[:] = [group for group in pool if id(group) not in removed]
