"""Train, dev and test splits by connected components of shared texts, in seeded-hash order.

Two queries with a document in common are in one group, and so is a repeated query; a group is in one split only, so no
test passage is a training passage. The order depends only on the seed, the source and the texts of the group: adding a
row to a source moves no other row, and two tasks on one source hold out the same groups.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

_STRICTEST = ("test", "dev", "train")


@dataclass
class Group:
    """Queries and documents (by number, in source order) that must be in the same split."""

    queries: list[int] = field(default_factory=list)
    documents: list[int] = field(default_factory=list)
    pinned: str | None = None  # the split given by the source


def groups(queries: np.ndarray, documents: np.ndarray, splits: Sequence[str | None]) -> list[Group]:
    """Connected groups, in order of first appearance.

    A group with rows of several given splits gets the strictest: test before dev before train.

    Args:
        queries, documents: [rows] numbers that a row joins; -1 where it has none.
        splits: [rows] given split of the row's query or None.
    """
    asked = int(queries.max(initial=-1)) + 1
    nodes = np.concatenate([queries, np.where(documents < 0, -1, documents + asked)])  # queries, then documents
    joined = (queries >= 0) & (documents >= 0)
    edges = (queries[joined], documents[joined] + asked)
    size = int(nodes.max(initial=-1)) + 1
    graph = coo_array((np.ones(len(edges[0]), dtype=np.int8), edges), shape=(size, size))
    label = connected_components(graph, directed=False)[1] if size else np.empty(0, dtype=np.int32)
    place = np.concatenate([2 * np.arange(len(queries)), 2 * np.arange(len(queries)) + 1])
    order = np.argsort(place, kind="stable")
    order = order[nodes[order] >= 0]
    present, first = np.unique(nodes[order], return_index=True)  # each node at its first row
    members = present[np.argsort(first, kind="stable")]
    found: dict[int, Group] = {}
    for node, own in zip(members.tolist(), label[members].tolist(), strict=True):
        group = found.setdefault(own, Group())
        (group.queries if node < asked else group.documents).append(node if node < asked else node - asked)
    _pin(found, label, queries, splits)
    return list(found.values())


def _pin(found: dict[int, Group], label: np.ndarray, queries: np.ndarray, splits: Sequence[str | None]) -> None:
    codes = np.array([_STRICTEST.index(one) if one else len(_STRICTEST) for one in splits], dtype=np.int8)
    stated = (codes < len(_STRICTEST)) & (queries >= 0)
    strictest = np.full(int(label.max(initial=-1)) + 1, len(_STRICTEST), dtype=np.int8)
    np.minimum.at(strictest, label[queries[stated]], codes[stated])
    for own in np.flatnonzero(strictest < len(_STRICTEST)).tolist():
        found[own].pinned = _STRICTEST[strictest[own]]


def rank(seed: int, source: str, key: str) -> str:
    """Sort key of a text in its source: a hash, independent of the other texts."""
    return hashlib.sha256(f"{seed}\0{source}\0{key}".encode()).hexdigest()


def sort_by_hash(pool: Sequence[Group], keys: Sequence[str], seed: int, source: str) -> list[Group]:
    """Groups sorted by the hash of their keys; a group's key is its alphabetically first text."""
    ranks = [rank(seed, source, key) for key in keys]
    return [pool[place] for place in sorted(range(len(pool)), key=ranks.__getitem__)]


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
