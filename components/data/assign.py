"""Which groups of queries test, dev and training get, and how many queries.

A source that has as many queries as are asked for gives them. One that has fewer keeps most of them for training: dev
and test together get their share of what is asked, or a fifth if that is more, and never more than they ask. A split
that the source states takes no other rows, and no other split takes those; test or dev that it does not state are
taken from its training rows.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from components.data.splits import Group

SPLITS = ("train", "dev", "test")
_HELD_OUT = ("dev", "test")
_FIFTH = 5
_LARGE = 20  # a group of more than a twentieth of all queries is one of a few


def plan_sizes(asked: Mapping[str, int], own: Mapping[str, int], common: int) -> dict[str, int]:
    """Queries that each split is to get.

    Args:
        asked: by split.
        own: queries that only this split may take.
        common: queries that any split may take.

    >>> plan_sizes({"train": 5000, "dev": 200, "test": 500}, {}, 300)
    {'train': 240, 'dev': 17, 'test': 43}
    """
    wanted = {split: max(0, asked[split] - own.get(split, 0)) for split in SPLITS}
    held_out, total = wanted["dev"] + wanted["test"], sum(wanted.values())
    limit = held_out if total <= common else min(held_out, max(common // _FIFTH, common * held_out // total))
    least = sum(wanted[split] > 0 for split in _HELD_OUT)  # one each, if training gets one too
    limit = max(limit, min(least, common - (wanted["train"] > 0)))
    dev = min(wanted["dev"], max(1, round(limit * wanted["dev"] / max(1, held_out))))
    dev = min(dev, max(0, limit - (wanted["test"] > 0)))
    more = {"dev": dev, "test": min(wanted["test"], max(0, limit - dev))}
    more["train"] = max(0, min(wanted["train"], common - more["dev"] - more["test"]))
    return {split: min(asked[split], own.get(split, 0)) + more[split] for split in SPLITS}


@dataclass
class Pool:
    """Groups that no split has taken yet, in hash order.

    Attributes:
        groups: the groups; what is taken is removed.
        unfit: by split, numbers of queries that it has no use for.
        cut: queries of groups that were cut to the number asked for: no other split may have them.
    """

    groups: list[Group]
    unfit: Mapping[str, frozenset[int]] = field(default_factory=dict)
    cut: int = 0

    def __post_init__(self) -> None:
        stated = {group.pinned for group in self.groups} - {None}
        self._pins: dict[str, set[str | None]] = {
            split: {None, split} if split in stated else {None, "train"} for split in SPLITS
        }

    def fit(self, group: Group, split: str) -> list[int]:
        """The group's queries that the split can use."""
        unfit = self.unfit.get(split)
        return [query for query in group.queries if query not in unfit] if unfit else group.queries

    def size(self, split: str) -> int:
        """Queries that the split may take."""
        return sum(self._sizes(split))

    def _sizes(self, split: str) -> Iterator[int]:
        if self.unfit.get(split):
            return (len(self.fit(group, split)) for group in self._allowed(split))
        return (len(group.queries) for group in self._allowed(split))

    def plan(self, asked: Mapping[str, int]) -> dict[str, int]:
        """`plan_sizes` of these groups."""
        own, common, reached = dict.fromkeys(SPLITS, 0), 0, set()
        all_fit = not any(self.unfit.values())
        takers_of = {
            pin: [split for split in SPLITS if asked[split] and pin in self._pins[split]] for pin in (None, *SPLITS)
        }
        for group in self.groups:
            takers = takers_of[group.pinned]
            fits = (len(group.queries) if all_fit else len(self.fit(group, split)) for split in takers)
            number = next(fits, 0) if all_fit else max(fits, default=0)
            if len(takers) == 1:
                own[takers[0]] += number
            elif number:
                common += number
                reached.update(takers)
        alone = {split: min(asked[split], own[split]) for split in SPLITS}
        return plan_sizes({split: asked[split] if split in reached else alone[split] for split in SPLITS}, own, common)

    def is_short(self, sizes: Mapping[str, int]) -> bool:
        """Whether whole groups cannot give dev and test these numbers."""
        for split in _HELD_OUT:
            missing = sizes[split]
            for size in self._sizes(split) if missing else ():
                missing -= size if size <= sizes[split] else 0
                if missing <= 0:
                    break
            if missing > 0:
                return True
        return False

    def large(self) -> list[Group]:
        """Groups of more than one twentieth of all queries."""
        number = sum(len(group.queries) for group in self.groups)
        return [group for group in self.groups if len(group.queries) > max(1, number // _LARGE)]

    def take(self, split: str, queries: int) -> list[Group]:
        """Take groups with at most so many queries in all, in order; larger groups are skipped.

        If no group is small enough, the smallest is cut: a source with a few large groups keeps the largest for
        training.
        """
        taken = self._take_fitting(split, queries)
        return taken if taken else self._take_cut(split, queries)

    def take_from_end(self, split: str, queries: int) -> list[Group]:
        """Like `take` but from the end, cutting a group to reach the number exactly; used for training splits.

        From the end: away from the groups that other tasks on the same source hold out.
        """
        self.groups.reverse()
        taken = self._take_fitting(split, queries)
        taken += self._take_cut(split, queries - sum(len(group.queries) for group in taken))
        self.groups.reverse()
        return taken

    def unpaired(self) -> list[Group]:
        """Groups without queries, whose documents training may have."""
        return [group for group in self.groups if not group.queries and group.pinned in (None, "train")]

    def remove(self, taken: list[Group]) -> None:
        """Take these groups out."""
        if not taken:
            return
        removed = {id(group) for group in taken}
        self.groups = [group for group in self.groups if id(group) not in removed]

    def _take_fitting(self, split: str, queries: int) -> list[Group]:
        taken: list[tuple[Group, list[int]]] = []
        for group in self._allowed(split) if queries else []:
            fit = self.fit(group, split)
            if fit and len(fit) <= queries:
                taken.append((group, fit))
                queries -= len(fit)
                if not queries:
                    break
        self.remove([group for group, _ in taken])
        return [_with_queries(group, fit) for group, fit in taken]

    def _take_cut(self, split: str, queries: int) -> list[Group]:
        fits = [(group, self.fit(group, split)) for group in self._allowed(split)] if queries else []
        fits = [(group, fit) for group, fit in fits if fit]
        if not fits:
            return []
        group, fit = min(fits, key=lambda one: len(one[1]))
        self.remove([group])
        self.cut += len(fit) - len(fit[:queries]) if split != "train" else 0
        return [_with_queries(group, fit[:queries])]

    def _allowed(self, split: str) -> list[Group]:
        return [group for group in self.groups if group.queries and group.pinned in self._pins[split]]


def _with_queries(group: Group, queries: list[int]) -> Group:
    return group if queries == group.queries else Group(queries, group.documents, group.pinned, group.divided)
