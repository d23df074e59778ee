"""Tables without a header line, for `foundry data inspect`: what the cells of the first line may be."""

import re
from collections.abc import Iterator
from pathlib import Path

from components.base.errors import UserError
from components.data.guess import Settings

JUDGEMENTS = "TREC judgements alone: put them beside their corpus and queries, and inspect the folder (format: trec)"
IDS = "ids alone: put the file beside its corpus and queries, and inspect the folder (format: corpus_and_ids)"


def is_header(cells: list[str]) -> bool:
    """Whether the first line of a table names columns: no numbers, no sentences."""
    return not any(cell.replace(".", "").isdigit() or len(cell.split()) > 3 for cell in cells)


def is_id(cell: str) -> bool:
    """Whether a cell is a number or a short id, and no text.

    >>> [is_id(cell) for cell in ("12", "D155", "doc_3", "0.5", "where is it", "town")]
    [True, True, True, False, False, False]
    """
    return bool(re.fullmatch(r"[A-Za-z_:-]{0,8}\d[\w:-]*", cell))


def refuse_lines_above(cells: list[str], path: Path) -> None:
    """Raise a UserError if the first line has empty cells."""
    if not all(cells):
        raise UserError(f"{path}: line 1 has empty cells: no header and no row; remove the lines above the header")


def without_header(cells: list[str], basic: Settings, path: Path) -> Iterator[tuple[str, Settings]]:
    """Settings for a table whose first line is a row: (about, settings).

    Raises:
        UserError: it has ids where texts belong, or empty cells.
    """
    refuse_lines_above(cells, path)
    words = cells[0].split() if len(cells) == 1 else cells
    if len(words) == 4 and words[1].isdigit() and words[3].lstrip("-").isdigit():
        raise UserError(f"{path}: {JUDGEMENTS}")
    kind, number = basic["format"], len(cells)
    if number in (2, 3) and all(map(is_id, cells)):
        raise UserError(f"{path}: {IDS}")
    texts = cells[:2] if number == 3 and _is_number(cells[2]) else cells
    if number in (2, 3) and any(is_id(cell) or _is_number(cell) for cell in texts):
        what = f"its first line ({', '.join(cells)[:60]}) has an id, a label or a grade beside a text, and no header"
        cure = "state the columns, as in `columns: {rows: [label, text]}`; of a corpus or queries, inspect the folder"
        raise UserError(f"{path}: {what}: {cure}")
    if number == 3 and len(texts) == 2:
        yield f"graded pairs without a header ({kind})", {**basic, "columns": {"rows": ["query", "document", "score"]}}
    elif number == 3:
        columns = {"columns": {"rows": ["query", "positive", "negative"]}}
        about = f"triples of query, positive and negative without a header ({kind})"
        more = {name: value for name, value in basic.items() if name != "format"}
        yield about, {"format": "sentence_transformers", **more, **columns}
    elif number == 2:
        yield f"pairs without a header ({kind})", {**basic, "columns": {"rows": ["query", "document"]}}


def _is_number(cell: str) -> bool:
    return bool(re.fullmatch(r"-?\d+([.,]\d+)?", cell))
