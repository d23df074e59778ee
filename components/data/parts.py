"""Prepared tasks on disk, one after the other, and the tables of all of them made from those.

A task is one range of rows in the tables, so they are written by streaming the tasks' files in order of their names;
only ids are held for all tasks at once.
"""

from pathlib import Path

import polars as pl

from components.contracts.tables import CORPUS, QRELS, QUERIES, Table, name_by_row, number_rows, write_parts
from components.data.prepared import Prepared

_TABLES = (("corpus", CORPUS, "doc_id"), ("queries", QUERIES, "query_id"))


def write(rows: Prepared, folder: Path, task: str) -> None:
    """Write the rows of one task, without its evaluation tables."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("corpus", "queries", "qrels"):
        getattr(rows, name).write_parquet(_path(folder, task, name), compression="zstd", statistics=False)


def read(folder: Path, task: str) -> Prepared:
    """Read what `write` wrote."""
    corpus, queries, qrels = (pl.read_parquet(_path(folder, task, name)) for name in ("corpus", "queries", "qrels"))
    return Prepared(corpus, queries, qrels)


def join(folder: Path, tasks: list[str], out: Path) -> None:
    """Write corpus, queries and qrels of all tasks to `out`, sorted and numbered; the tasks' files are used up."""
    first = {"corpus": 0, "queries": 0}
    for task in sorted(tasks):
        numbered = {}
        for name, table, identity in _TABLES:
            path = _path(folder, task, name)
            rows = number_rows(pl.read_parquet(path).with_columns(task=pl.lit(task)), table)
            rows = rows.with_columns(pl.col("row") + first[name])
            first[name] += len(rows)
            rows.write_parquet(path, compression="zstd", statistics=False)
            numbered[name] = rows.select("row", identity)
        path = _path(folder, task, "qrels")
        qrels = name_by_row(pl.read_parquet(path), numbered["queries"], numbered["corpus"])
        qrels.write_parquet(path, compression="zstd", statistics=False)
    written: tuple[tuple[str, Table], ...] = (("corpus", CORPUS), ("queries", QUERIES), ("qrels", QRELS))
    for name, table in written:
        write_parts([_path(folder, task, name) for task in sorted(tasks)], out / f"{name}.parquet", table)


def _path(folder: Path, task: str, name: str) -> Path:
    return folder / f"{task}.{name}.parquet"
