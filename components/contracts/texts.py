"""The texts of one table, on disk: a memory-mapped Arrow file from which any rows are read.

The file is made once per content of the Parquet file, in a cache folder, and holds a digest beside each text. A stage
holds row numbers; a worker opens the file itself and reads the texts of its shard.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from components.base.files import whole_file
from components.base.hashing import file_hash

_PART = 1 << 16  # rows of a record batch
_SCHEMA = pa.schema([("text", pa.large_string()), ("digest_high", pa.uint64()), ("digest_low", pa.uint64())])


class Texts:
    """Texts by row. Another process that is sent this object opens the file for itself."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._reader = pa.ipc.open_file(pa.memory_map(str(file)))
        self._parts = [self._reader.get_batch(i) for i in range(self._reader.num_record_batches)]
        self._len = sum(part.num_rows for part in self._parts)

    def __reduce__(self) -> tuple[Any, ...]:
        return Texts, (self.file,)

    def __len__(self) -> int:
        return self._len

    @property
    def identity(self) -> str:
        """The name of the file, which `of_table` takes from the table's content."""
        return self.file.stem

    @classmethod
    def of_table(cls, table: Path, cache: Path) -> "Texts":
        """The column `text` of a Parquet file; made below `cache` unless it is there."""
        file = cache / "texts" / f"{file_hash(table)[:32]}.arrow"
        if not file.exists():
            batches = pq.ParquetFile(table).iter_batches(_PART, columns=["text"])
            write_texts((text for batch in batches for text in batch.column(0).to_pylist()), file)
        return cls(file)

    def take(self, rows: Sequence[int] | np.ndarray) -> list[str]:
        """The texts of these rows, in this order."""
        wanted = np.asarray(rows, dtype=np.int64)
        texts = np.empty(len(wanted), dtype=object)
        for part, places in self._by_part(wanted):
            column = self._parts[part].column(0).take(pa.array(wanted[places] - part * _PART))
            texts[places] = column.to_numpy(zero_copy_only=False)
        return list(texts)

    def lengths(self, start: int, stop: int) -> np.ndarray:
        """int64 [stop - start]: bytes of each text; the texts themselves are not read."""
        return self._slice(start, stop, lambda part: pc.binary_length(part.column(0)), np.int64)

    def digests(self, start: int, stop: int) -> pl.DataFrame:
        """high, low: 128 bits of the sha256 of each text."""
        return pl.DataFrame(
            {
                name: self._slice(start, stop, lambda part, name=name: part.column(f"digest_{name}"), np.uint64)
                for name in ("high", "low")
            }
        )

    def hashes(self) -> np.ndarray:
        """uint64 [n]: the first 64 bits of each text's digest, by row."""
        return self._slice(0, len(self), lambda part: part.column("digest_high"), np.uint64)

    def first_rows(self, start: int, stop: int) -> np.ndarray:
        """uint32 [stop - start]: for each row the first one of the range with the same text."""
        numbered = self.digests(start, stop).with_row_index("row", offset=start)
        return numbered.select(pl.col("row").min().over("high", "low")).to_series().to_numpy()

    def _by_part(self, rows: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """(part, places in `rows`) for each part that a row is in."""
        parts = rows // _PART
        order = np.argsort(parts, kind="stable")
        for places in np.split(order, np.flatnonzero(np.diff(parts[order])) + 1):
            if len(places):
                yield int(parts[places[0]]), places

    def _slice(self, start: int, stop: int, column: Any, dtype: Any) -> np.ndarray:
        found = [np.empty(0, dtype)]
        for part in range(start // _PART, -(-stop // _PART)):
            first = part * _PART
            values = np.asarray(column(self._parts[part]), dtype)
            found.append(values[max(start - first, 0) : stop - first])
        return np.concatenate(found)


def write_texts(texts: Iterable[str], file: Path) -> None:
    """Write a file for `Texts`, a part in memory at a time."""
    with whole_file(file) as partial, pa.ipc.new_file(str(partial), _SCHEMA) as out:
        for part in _parts(texts):
            digests = np.frombuffer(b"".join(hashlib.sha256(text.encode()).digest()[:16] for text in part), np.uint64)
            out.write_batch(pa.record_batch([part, digests[::2], digests[1::2]], schema=_SCHEMA))


def _parts(texts: Iterable[str]) -> Iterator[list[str]]:
    part: list[str] = []
    for text in texts:
        part.append(text)
        if len(part) == _PART:
            yield part
            part = []
    if part:
        yield part
