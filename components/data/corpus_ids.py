"""Reader for pairs that name their documents by id, with a corpus beside them (Tevatron, NeMo, MS MARCO's triples)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from components.base.errors import UserError
from components.config import SourceParams
from components.data.cells import Raw, find_value, is_null, list_names, read_cell, read_name
from components.data.collection import Entry, pool_row, read_by_id
from components.data.columns import BESIDE_LISTS, ColumnPlan, choose_layout
from components.data.counts import Counts
from components.data.layouts import COLLECTIONS
from components.data.origins import Files
from components.data.part_files import find_part, require_part
from components.data.table_files import file_rows

_IDS = ("docid", "doc_id", "_id", "id")


def read_corpus_and_ids(files: Files, params: SourceParams, counts: Counts) -> Iterator[Raw]:
    """Rows with query, positives and negatives as passages; documents that no row names come last."""
    parts = COLLECTIONS["corpus_and_ids"]
    names = {part: require_part(files, params, part, parts[part]) for part in ("corpus", "rows")}
    names["queries"] = find_part(files, params, "queries", parts["queries"])
    used = {name for own in names.values() for name in own}
    counts.skipped += [name for name in files.names if name not in used]
    corpus = read_by_id(files, params, "corpus", parts["corpus"], counts)
    queries = read_by_id(files, params, "queries", parts["queries"], counts) if names["queries"] else {}
    plans: dict[tuple[str, ...], ColumnPlan] = {}
    named: set[str] = set()
    for name in names["rows"]:
        for raw in file_rows(files.root / name, params, params.columns.get("rows", ())):
            key = tuple(raw.values)
            if key not in plans:
                plans[key] = choose_layout(raw, params)
                counts.note_columns(raw.values, (one for found in plans[key].found.values() for one in found))
            joined = _Join(raw, plans[key], corpus).row(queries, params, counts)
            if joined is not None:
                named |= {one["docid"] for side in ("positives", "negatives") for one in joined.values.get(side, ())}
                yield joined
    for doc_id, row in corpus.items():
        if doc_id not in named:
            yield pool_row(row, doc_id)


@dataclass
class _Join:
    """One row and the corpus that its ids are looked up in."""

    raw: Raw
    plan: ColumnPlan
    corpus: dict[str, Entry]

    def row(self, queries: dict[str, Entry], params: SourceParams, counts: Counts) -> Raw | None:
        """The row with texts for its ids; None if `on_missing` leaves all of it out.

        Raises:
            UserError: an id that is not there, unless `on_missing` skips it.
        """
        values = {ours: read_cell(self.raw, self.plan.found[ours]) for ours in BESIDE_LISTS if ours in self.plan.found}
        problems: list[UserError] = []
        if is_null(values.get("query")):
            values["query"] = self._asked(values, queries, problems)
        for side in ("positive", "negative"):
            values |= self._documents(side, problems)
        if problems and params.on_missing == "refuse":
            raise problems[0]
        nothing_left = values["query"] is None or not values["positives"]
        left_out = len(values["positives"]) + len(values["negatives"]) if nothing_left and problems else 0
        for _ in range(len(problems) + left_out):
            counts.leave_out("missing")
        return None if nothing_left and problems else Raw(self.raw.file, self.raw.row, values)

    def _asked(self, values: dict[str, Any], queries: dict[str, Entry], problems: list[UserError]) -> str | None:
        label = self.plan.labels.get("query_id", "query")
        if is_null(values.get("query_id")) or not queries:
            cure = "add the column, or name the file of the queries in `files: {queries: ...}`"
            raise self.raw.error("query", f"missing; the row has {list_names(self.raw.values)}: {cure}")
        own = read_name(self.raw, label, values["query_id"])
        if own not in queries:
            problems.append(_unknown(self.raw, label, own, "queries"))
            return None
        return queries[own].text

    def _documents(self, side: str, problems: list[UserError]) -> dict[str, Any]:
        """The documents of one side with their scores, without those that the corpus lacks."""
        kept: list[dict[str, Any]] = []
        places: list[int] = []
        cells = self._ids(side)
        for place, (label, own) in enumerate(cells):
            if own in self.corpus:
                kept.append({"docid": own, "text": self.corpus[own].text})
                places.append(place)
            else:
                problems.append(_unknown(self.raw, label, own, "corpus"))
        column = f"{side}_scores"
        scores = read_cell(self.raw, self.plan.found[column]) if column in self.plan.found else None
        if isinstance(scores, list) and len(scores) == len(cells):
            scores = [scores[place] for place in places]
        return {f"{side}s": kept} | ({} if scores is None else {column: scores})

    def _ids(self, side: str) -> list[tuple[str, str]]:
        """(label of the cell, id): ids stand alone or in objects, in a list or one in a column."""
        found = self.plan.found
        if f"{side}s" in found:
            name = found[f"{side}s"][0]
            values = read_cell(self.raw, (name,))
            values = [] if is_null(values) else values
            if not isinstance(values, list):
                raise self.raw.error(name, "expected a list of ids; correct `fields` or the file")
            cells = [(f"{name}[{place}]", one) for place, one in enumerate(values)]
        else:
            cells = [(name, find_value(self.raw.values, name)) for name in found.get(side, ())]
        return [(label, self._id(label, cell)) for label, cell in cells]

    def _id(self, label: str, cell: Any) -> str:
        if isinstance(cell, dict):
            cell = next((cell[name] for name in _IDS if name in cell), None)
        own = read_name(self.raw, label, cell)
        if not own:
            raise self.raw.error(label, "empty, expected the id of a document; correct the row")
        return own


def _unknown(raw: Raw, label: str, own: str, where: str) -> UserError:
    cure = f"add it to the {where} or remove it, or set on_missing: skip"
    return raw.error(label, f"unknown id {own!r}; {cure}")
