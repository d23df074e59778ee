"""Counts of a source's rows while they are read, for the data card."""

from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass
class Counts:
    """Rows read, rows that the source's own rules left out, and what else the data card says of them.

    dropped: empty, duplicate, value (mapped to null), missing (on_missing: skip) and their numbers of rows.
    below: judgements below min_relevance. without_judgement: queries of a collection that no judgement names.
    document_instructions: documents with an instruction of their own, which nothing reads.
    not_read: columns of the files that nothing reads, in order. skipped: files below the path that are no part.
    """

    read: int = 0
    dropped: dict[str, int] = field(default_factory=lambda: {"empty": 0, "duplicate": 0, "value": 0, "missing": 0})
    below: int = 0
    without_judgement: int = 0
    document_instructions: int = 0
    not_read: dict[str, None] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)

    def note_columns(self, present: Iterable[str], read: Iterable[str]) -> None:
        """Note the columns of a file that are not read; a nested one counts as its outer column."""
        known = {name for one in read for name in (one, one.split(".")[0])}
        self.not_read |= dict.fromkeys(str(name) for name in present if name not in known)

    def leave_out(self, rule: str) -> None:
        """Count a row that a rule of the source leaves out before it is converted."""
        self.read += 1
        self.dropped[rule] += 1

    def lines(self) -> list[str]:
        """Columns and rows of the files that are not read, as text."""
        found = []
        if self.not_read:
            found.append(f"columns that nothing reads: {', '.join(self.not_read)}")
        if self.skipped:
            found.append(f"files that are no part of it: {', '.join(self.skipped)}")
        if self.document_instructions:
            found.append(
                f"instructions of {self.document_instructions:,} documents are not read, only those of queries"
            )
        if self.without_judgement:
            found.append(f"{self.without_judgement:,} queries have no judgement and are left out")
        return found

    def entry(self) -> dict[str, object]:
        """Further counts for the data card beside the rows read and kept; zero counts are left out."""
        rules = {f"rows_dropped_{rule}": n for rule, n in self.dropped.items() if n or rule != "missing"}
        rest = {
            "rows_below_min_relevance": self.below,
            "queries_without_judgement": self.without_judgement,
            "document_instructions_not_read": self.document_instructions,
            "columns_not_read": list(self.not_read),
        }
        return rules | {name: value for name, value in rest.items() if value}
