"""Row iterators for JSON Lines and Parquet files."""

import json
from collections.abc import Iterator
from pathlib import Path

from components.base.errors import UserError
from components.config import SourceParams
from components.data.cells import Raw
from components.data.text_files import read_lines

ONE_DOCUMENT = "the file looks like one JSON document: write one object per line (jq -c '.[]' for a list)"


def jsonl_rows(path: Path, params: SourceParams) -> Iterator[Raw]:
    """One JSON object per line."""
    for number, line in read_lines(path, params):
        try:
            values = json.loads(line)
        except json.JSONDecodeError as problem:
            cure = ONE_DOCUMENT if line.strip() in ("[", "{") else "correct or remove the line"
            raise UserError(f"{path}: row {number}: not valid JSON ({problem.msg}); {cure}") from None
        if not isinstance(values, dict):
            cure = ONE_DOCUMENT if isinstance(values, list) else "expected one object per line"
            raise UserError(f"{path}: row {number}: not a JSON object; {cure}")
        yield Raw(path, number, values)


def parquet_rows(path: Path) -> Iterator[Raw]:
    """Parquet, read in batches."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        for batch in pq.ParquetFile(path).iter_batches(batch_size=4096):
            for values in batch.to_pylist():
                number += 1
                yield Raw(path, number, values)
    except (pa.ArrowException, OSError) as problem:
        raise UserError(f"{path}: not a readable Parquet file ({' '.join(str(problem).split())[:120]})") from None
