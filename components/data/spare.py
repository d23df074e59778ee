"""Documents that held-out queries are ranked over beside their answers: free ones first, then those of spare queries.

A document that answers a query cannot be held out without the query, so such documents are taken only as long as
training keeps the queries that it asks for.
"""

import numpy as np

from components.data.assign import Pool
from components.data.distinct import TextsAt
from components.data.hard import hard_documents
from components.data.pair_source import PairSource, query_numbers
from components.data.splits import Group


class Spare:
    """Groups whose documents may be held out.

    Attributes:
        missing: documents that were asked for and not found.
    """

    def __init__(self, pool: Pool, train: int) -> None:
        self.pool, self.missing = pool, 0
        self._left = max(0, pool.size("train") - train)  # queries that training can do without
        self._moved: set[int] = set()

    def groups(self, *, owned: bool) -> list[Group]:
        """Those with queries, or those without."""
        return [one for one in self.pool.groups if one.pinned in (None, "train") and bool(one.queries) == owned]

    def spend(self, group: Group) -> bool:
        """Whether the group's documents may be held out; its queries are then lost to training."""
        if id(group) in self._moved:
            return True
        cost = len(self.pool.fit(group, "train")) if group.queries else 0
        if cost > self._left:
            return False
        self._left -= cost
        self._moved.add(id(group))
        return True


def add_hard(source: PairSource, found: list[Group], spare: Spare, least: int) -> np.ndarray:
    """Documents of held-out groups plus hard ones up to `least`; the groups of those are removed from the pool."""
    held_out = source.documents_of(found)
    if least <= len(held_out) or not found:
        return held_out
    judged = _judged(source, query_numbers(found))
    for owned in (False, True):
        more = _hardest(source, judged, spare, held_out, least - len(held_out), owned=owned)
        held_out = np.concatenate([held_out, more])
        if len(held_out) >= least:
            break
    spare.missing += max(0, least - len(held_out))
    return held_out


def _judged(source: PairSource, queries: np.ndarray) -> list[tuple[str, list[str]]]:
    """Each query with its answers, read at once."""
    owners, documents, scores = source.pairs_of(queries)
    positive = source.are_positive(scores)
    answers: dict[int, list[str]] = {query: [] for query in queries.tolist()}
    texts = source.documents.texts(documents[positive])
    for owner, text in zip(owners[positive].tolist(), texts, strict=True):
        answers[owner].append(text)
    return list(zip(source.queries.texts(queries), answers.values(), strict=True))


def _hardest(
    source: PairSource,
    judged: list[tuple[str, list[str]]],
    spare: Spare,
    held_out: np.ndarray,
    number: int,
    *,
    owned: bool,
) -> np.ndarray:
    free = spare.groups(owned=owned)
    keys = np.array([document for group in free for document in group.documents], dtype=np.int64)
    owner = np.repeat(np.arange(len(free)), [len(group.documents) for group in free])
    kept = ~np.isin(keys, held_out)
    keys, owner = keys[kept], owner[kept]

    def allowed(place: int) -> bool:
        return spare.spend(free[owner[place]])

    chosen = hard_documents(judged, TextsAt(source.documents, keys), number, allowed)
    spare.pool.remove([free[place] for place in owner[chosen].tolist()])
    return keys[chosen]
