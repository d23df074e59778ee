"""Tables that are read and written in parts: neither side holds all rows."""

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from components.base.errors import UserError
from components.contracts.tables import ROW_GROUP, Table, check_order, check_rows


def read_queries(path: Path, table: Table, first: int, last: int, size: int) -> Iterator[pl.DataFrame]:
    """Rows of the queries first ... last in parts of about `size` rows; a query's rows are in one part.

    Args:
        table: its first column in `order` is `query`.

    Raises:
        UserError: no such file, or a part breaks the contract.
    """
    if not path.is_file():
        raise UserError(f"{path}: missing; run the stage that writes it (dvc repro)")
    with pq.ParquetFile(path) as file:
        waiting: list[pl.DataFrame] = []
        for group in range(file.num_row_groups):
            if _may_hold(file, group, first, last):
                rows = pl.DataFrame(file.read_row_group(group))
                waiting.append(rows.filter(pl.col("query").is_between(first, last)))
                if sum(map(len, waiting)) >= size:
                    whole = pl.concat(waiting)
                    done = whole.filter(pl.col("query") < whole["query"][-1])
                    waiting = [whole.slice(len(done))]
                    if len(done):
                        yield check_rows(done, str(path), table)
        rest = pl.concat(waiting) if waiting else pl.DataFrame()
    if len(rest):
        yield check_rows(rest, str(path), table)


def _may_hold(file: pq.ParquetFile, group: int, first: int, last: int) -> bool:
    """Whether a row group can hold one of the queries first ... last, by its statistics."""
    found = file.metadata.row_group(group).column(file.schema_arrow.get_field_index("query")).statistics
    return found is None or not found.has_min_max or bool(found.max >= first and found.min <= last)


class TableWriter:
    """A sorted Parquet table that grows by parts; row groups have one size, so the same rows give the same bytes."""

    def __init__(self, path: Path, table: Table) -> None:
        self.path, self.table = path, table
        self._waiting = check_rows(pl.DataFrame(schema=dict.fromkeys(table.columns, pl.Null)), str(path), table)
        self._last = self._waiting
        self._schema: pa.Schema = self._waiting.to_arrow().schema
        self._writer = pq.ParquetWriter(path, self._schema, compression="zstd")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is None:
            self._put(self._waiting)
        self._writer.close()

    def append(self, rows: pl.DataFrame) -> None:
        """Check the rows and write them behind the ones before.

        Raises:
            UserError: a check fails, or the first row is not greater than the last one before.
        """
        if rows.is_empty():
            return
        checked = check_rows(rows, str(self.path), self.table)
        check_order(pl.concat([self._last, checked.head(1)]), str(self.path), self.table.order)
        self._last = checked.tail(1)
        waiting = pl.concat([self._waiting, checked])
        full = len(waiting) - len(waiting) % ROW_GROUP
        self._put(waiting.head(full))
        self._waiting = waiting.slice(full)

    def _put(self, rows: pl.DataFrame) -> None:
        if len(rows):
            self._writer.write_table(rows.to_arrow().cast(self._schema), row_group_size=ROW_GROUP)
