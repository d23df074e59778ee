"""The documents that a question is asked of: a file of the user's, or what the checkout holds of a task."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from components.base.errors import UserError
from components.config import LocalOrigin, SourceParams
from components.contracts.tables import CORPUS, read_table
from components.data.formats import READERS
from components.data.origins import Files

COLUMNS = ("text", "document")
QUERY_COLUMNS = ("query", "text")


def read_corpus(file: Path, columns: Sequence[str] = COLUMNS) -> list[str]:
    """The texts of a .jsonl or .parquet file (the first of `columns` that a row has), or of a text file, one a line.

    Raises:
        UserError: the file is missing, empty or not readable, or a row has no text.
    """
    if not file.is_file():
        raise UserError(
            f"{file}: no such file; give a text file, or .jsonl or .parquet with a column {' or '.join(columns)}"
        )
    name = file.name.removesuffix(".gz")
    kind = {".jsonl": "jsonl", ".parquet": "parquet"}.get(Path(name).suffix)
    texts = list(_column(file, kind, columns)) if kind else _lines(file)
    if not texts:
        raise UserError(f"{file}: no documents in it; give a file with one text a line")
    return texts


def _column(file: Path, kind: str, columns: Sequence[str]) -> Iterator[str]:
    origin = LocalOrigin(kind="local", path=str(file), licence="the user's own")
    source = SourceParams.model_validate({"origin": origin, "format": kind})
    for raw in READERS[kind](Files(file.parent, [file.name], "", ""), source):
        column = next((name for name in columns if name in raw.values), None)
        if column is None:
            first, second = columns
            raise raw.error(first, f"missing, and so is {second}; the row has {', '.join(raw.values)}")
        text = raw.values[column]
        if not isinstance(text, str) or not text.strip():
            raise raw.error(column, "empty or not a text; correct or remove the row")
        yield text


def _lines(file: Path) -> list[str]:
    try:
        return [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    except UnicodeDecodeError as problem:
        raise UserError(f"{file}: not UTF-8 at byte {problem.start}; save it as UTF-8 text") from None


def task_corpus(outputs: Path, task: str) -> tuple[Path, list[str]]:
    """(file, texts): the held-out corpus of a task, else the documents that it trains on.

    Raises:
        UserError: prepare has made no documents for the task.
    """
    held_out, prepared = (
        outputs / "prepare" / "benchmark" / f"{task}.corpus.parquet",
        outputs / "prepare/corpus.parquet",
    )
    if held_out.is_file():
        return held_out, read_corpus(held_out)
    texts = read_table(prepared, CORPUS).filter(pl.col("task") == task)["text"].to_list() if prepared.is_file() else []
    if not texts:
        raise UserError(f"{outputs / 'prepare'}: no documents of task {task}; name a file of your own: --corpus FILE")
    return prepared, texts
