"""The rows of one prepared task."""

from dataclasses import dataclass, field
from typing import Any

import polars as pl

Row = dict[str, Any]


@dataclass
class Prepared:
    """Rows of one task by the table contracts, and its held-out evaluation tables by name."""

    corpus: list[Row] = field(default_factory=list)
    queries: list[Row] = field(default_factory=list)
    qrels: list[Row] = field(default_factory=list)
    benchmark: dict[str, pl.DataFrame] = field(default_factory=dict)


def cut_words(text: str, words: int | None) -> str:
    """The first `words` words of a text; the text unchanged if it has no more."""
    parts = text.split()
    return text if words is None or len(parts) <= words else " ".join(parts[:words])
