"""Groups of queries that belong in one split, by connected components of shared texts, in seeded-hash order.

Two queries with a document in common are in one group, and so is a repeated query; a group is in one split only, so no
test passage is a training passage. The order depends only on the seed, the source and the texts of the group: adding a
row to a source moves no other row, and two tasks on one source hold out the same groups.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

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
    divided: bool = False  # part of a group that was divided by query: other parts may have its documents


@dataclass(frozen=True)
class Edges:
    """Edges between queries and documents, and between texts and their other spellings.

    queries, documents: [rows] numbers that a row joins; -1 where it has none.
    splits: [rows] given split of the row's query or None.
    same_query, same_document: by number, the first text that is the same.
    """

    queries: np.ndarray
    documents: np.ndarray
    splits: Sequence[str | None]
    same_query: np.ndarray
    same_document: np.ndarray

    @cached_property
    def stated(self) -> np.ndarray:
        """int8 by query: the strictest split that a row of its states, as a place in _STRICTEST; one more if none."""
        codes = np.array([_STRICTEST.index(one) if one else len(_STRICTEST) for one in self.splits], dtype=np.int8)
        found = np.full(len(self.same_query), len(_STRICTEST), dtype=np.int8)
        rows = self.queries >= 0
        np.minimum.at(found, self.queries[rows], codes[rows])
        return found

    def count_overruled(self, found: Sequence[Group]) -> int:
        """Queries in groups that are pinned to a stricter split than the source states for them."""
        stated, number = self.stated, 0
        for group in found:
            if group.pinned:
                codes = stated[group.queries]
                number += int(((codes < len(_STRICTEST)) & (codes != _STRICTEST.index(group.pinned))).sum())
        return number

    def count_stated(self) -> dict[str, int]:
        """Queries by the split that the source states for them."""
        return {split: int((self.stated == code).sum()) for code, split in enumerate(_STRICTEST)}


def groups(edges: Edges) -> list[Group]:
    """Connected groups, in order of first appearance.

    A group with rows of several given splits gets the strictest: test before dev before train.
    """
    queries, documents, asked = edges.queries, edges.documents, len(edges.same_query)
    size = asked + len(edges.same_document)
    nodes = np.concatenate([queries, np.where(documents < 0, -1, documents + asked)])  # queries, then documents
    joined = (queries >= 0) & (documents >= 0)
    same = np.concatenate([edges.same_query, edges.same_document + asked])
    ends = np.concatenate([queries[joined], np.arange(size)]), np.concatenate([documents[joined] + asked, same])
    graph = coo_array((np.ones(len(ends[0]), dtype=np.int8), ends), shape=(size, size))
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
    _pin(found, label, edges.stated)
    return list(found.values())


def divide(group: Group, edges: Edges, documents_of: Callable[[list[int]], list[int]]) -> list[Group]:
    """The group's queries, each with its documents, in groups of their own; spellings of one query stay together."""
    parts: dict[int, Group] = {}
    stated = edges.stated[group.queries].tolist()
    for query, same, code in zip(group.queries, edges.same_query[group.queries].tolist(), stated, strict=True):
        part = parts.setdefault(same, Group(divided=True))
        part.queries.append(query)
        own = _STRICTEST.index(part.pinned) if part.pinned else len(_STRICTEST)
        part.pinned = (*_STRICTEST, None)[min(own, code)]
    for part in parts.values():
        part.documents = documents_of(part.queries)
    return list(parts.values())


def _pin(found: dict[int, Group], label: np.ndarray, stated: np.ndarray) -> None:
    strictest = np.full(int(label.max(initial=-1)) + 1, len(_STRICTEST), dtype=np.int8)
    np.minimum.at(strictest, label[: len(stated)], stated)
    for own in np.flatnonzero(strictest < len(_STRICTEST)).tolist():
        found[own].pinned = _STRICTEST[strictest[own]]


def split_key(text: str) -> str:
    """The form of a text that splits are hashed from. Never change it: every source would be split in another way."""
    return " ".join(text.lower().split())


def rank(seed: int, source: str, key: str) -> str:
    """Sort key of a text in its source: a hash, independent of the other texts."""
    return hashlib.sha256(f"{seed}\0{source}\0{key}".encode()).hexdigest()


def sort_by_hash(pool: Sequence[Group], keys: Sequence[str], seed: int, source: str) -> list[Group]:
    """Groups sorted by the hash of their keys; a group's key is its alphabetically first text."""
    ranks = [rank(seed, source, key) for key in keys]
    return [pool[place] for place in sorted(range(len(pool)), key=ranks.__getitem__)]
