"""Prepared tasks on disk, one after the other, and the tables of all of them made from those.

A task is one range of rows in the tables, so they are written by streaming the tasks' files in order of their names;
only ids are held for all tasks at once.
"""

from pathlib import Path

import polars as pl

from components.base.errors import UserError
from components.contracts.tables import (
    CORPUS,
    INSTRUCTIONS,
    OWN_NEGATIVES,
    QRELS,
    QUERIES,
    ROW_GROUP,
    SOURCE_SCORES,
    check_rows,
    name_by_row,
    number_rows,
)
from components.data.prepared import Prepared

_TABLES = (("corpus", CORPUS, "doc_id"), ("queries", QUERIES, "query_id"))
_PAIRS = (("qrels", QRELS), ("own_negatives", OWN_NEGATIVES), ("source_scores", SOURCE_SCORES))
_ALL = ("corpus", "queries", "qrels", "own_negatives", "source_scores", "instructions")
_IF_ANY = ("source_scores", "instructions")  # written where a task has rows of it


def write(rows: Prepared, folder: Path, task: str) -> None:
    """Write the rows of one task, without its evaluation tables."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in _ALL:
        getattr(rows, name).write_parquet(_path(folder, task, name), compression="lz4", statistics=False)


def read(folder: Path, task: str) -> Prepared:
    """Read what `write` wrote."""
    rows = Prepared()
    for name in _ALL:
        setattr(rows, name, pl.read_parquet(_path(folder, task, name)))
    return rows


def join(folder: Path, tasks: list[str], out: Path) -> None:
    """Write the tables of all tasks to `out`, sorted and numbered; the tasks' files are used up.

    Raises:
        UserError: a task's rows break a contract, or two tasks have an id in common; nothing is written to `out`.
    """
    names = sorted(tasks)
    first = {"corpus": 0, "queries": 0}
    ids: dict[str, list[pl.Series]] = {"corpus": [], "queries": []}
    for task in names:
        numbered = {}
        for name, table, identity in _TABLES:
            path = _path(folder, task, name)
            rows = number_rows(pl.read_parquet(path).with_columns(task=pl.lit(task)), table)
            rows = check_rows(rows, str(path), table).with_columns(pl.col("row") + first[name])
            rows.write_parquet(path, compression="lz4", statistics=False)
            first[name] += len(rows)
            numbered[name] = rows.select("row", identity)
            ids[name].append(rows[identity])
        for name, table in _PAIRS:
            path = _path(folder, task, name)
            pairs = name_by_row(pl.read_parquet(path), numbered["queries"], numbered["corpus"])
            check_rows(pairs, str(path), table).write_parquet(path, compression="lz4", statistics=False)
        path = _path(folder, task, "instructions")
        own = pl.read_parquet(path).join(numbered["queries"], on="query_id").select("instruction", query="row")
        check_rows(own.sort("query"), str(path), INSTRUCTIONS).write_parquet(path, compression="lz4", statistics=False)
    for name, _, identity in _TABLES:
        _refuse_duplicates(pl.concat(ids[name]), out / f"{name}.parquet", identity)
    for name in _ALL:
        every = pl.concat([pl.scan_parquet(_path(folder, task, name)) for task in names])
        if name in _IF_ANY and every.head(1).collect().is_empty():
            continue
        target = out / f"{name}.parquet"
        every.sink_parquet(target, compression="zstd", statistics=True, row_group_size=ROW_GROUP, maintain_order=True)


def _refuse_duplicates(ids: pl.Series, target: Path, identity: str) -> None:
    twice = ids.is_duplicated()
    if twice.any():
        raise UserError(f"{target}: field {identity}: duplicate {ids.filter(twice)[0]!r}; ids must be unique")


def _path(folder: Path, task: str, name: str) -> Path:
    return folder / f"{task}.{name}.parquet"
