"""Rows of one file of any format; Parquet files and saved data sets.

Text is read with Python's json and csv, which name the row of a fault; Parquet, Arrow and zstd with pyarrow, a folder
that `save_to_disk` wrote with `datasets`.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from components.base.errors import UserError
from components.base.short_lines import describe_exception
from components.config import SourceParams
from components.config.fetch import TABLES
from components.data.cells import Raw
from components.data.delimited import delimited_rows, whitespace_rows
from components.data.json_files import json_rows, jsonl_rows
from components.data.local_files import ENDINGS, bare_name
from components.data.text_files import refuse_other_content

SPLIT_NAMES = {"train": "train", "dev": "dev", "validation": "dev", "valid": "dev", "val": "dev", "test": "test"}


def file_kind(path: Path) -> str:
    """jsonl, json, csv, tsv or parquet, by the file's ending, that of a compression left out.

    Raises:
        UserError: the ending belongs to none of them.
    """
    name = bare_name(path.name)
    if name.endswith(".json"):
        return "json"
    for kind in ("jsonl", "csv", "tsv", "parquet"):
        if name.endswith(ENDINGS[kind]):
            return kind
    every = ", ".join(ending for kind in ("jsonl", "csv", "tsv", "parquet") for ending in ENDINGS[kind])
    raise UserError(f"{path}: its ending tells no kind of file, expected one of {every}; rename it or state the format")


def file_rows(path: Path, params: SourceParams, header: Sequence[str] = (), part: str = "rows") -> Iterator[Raw]:
    """Rows of one file; `header` is used for delimited files that have no header line."""
    kind = params.format if params.format in TABLES and part == "rows" else file_kind(path)
    if kind == "parquet":
        return parquet_rows(path)
    if kind == "jsonl":
        return jsonl_rows(path, params)
    if kind == "json":
        return json_rows(path, params)
    if params.format == "trec" and part == "qrels" and kind == "tsv":
        return whitespace_rows(path, params, header)
    return delimited_rows(path, params, kind, header)


def parquet_rows(path: Path) -> Iterator[Raw]:
    """Parquet, read in batches."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        file = pq.ParquetFile(path)
        _refuse_twins(path, file.schema_arrow.names)
        for batch in file.iter_batches(batch_size=4096):
            for values in batch.to_pylist():
                number += 1
                yield Raw(path, number, values)
    except (pa.ArrowException, OSError) as problem:
        with path.open("rb") as handle:
            refuse_other_content(path, handle.read(100))
        raise UserError(f"{path}: not a readable Parquet file ({describe_exception(problem)})") from None


def _refuse_twins(path: Path, names: list[str]) -> None:
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise UserError(f"{path}: column {twice[0]!r} occurs twice; rename or remove one")


def is_saved(folder: Path) -> bool:
    """Whether save_to_disk wrote the folder."""
    return any((folder / name).is_file() for name in ("dataset_dict.json", "state.json"))


def saved_rows(folder: Path, params: SourceParams) -> Iterator[Raw]:
    """A folder that `Dataset.save_to_disk` or `DatasetDict.save_to_disk` wrote.

    Of several splits all are read unless `split` names one; train, validation (dev) and test are the rows' own splits.
    """
    from datasets import DatasetDict, load_from_disk

    try:
        loaded = load_from_disk(str(folder))
    except (ValueError, OSError, KeyError) as problem:
        reason = describe_exception(problem)
        raise UserError(f"{folder}: not a folder that save_to_disk wrote ({reason}); correct the path") from None
    splits: dict[str, Any] = dict(loaded) if isinstance(loaded, DatasetDict) else {params.split or "": loaded}
    if params.split and params.split not in splits:
        raise UserError(f"{folder}: no split {params.split!r}; it has {', '.join(splits)}: correct `split`")
    chosen = {params.split: splits[params.split]} if params.split else splits
    unknown = [name for name in chosen if name not in SPLIT_NAMES]
    if len(chosen) > 1 and unknown:
        raise UserError(
            f"{folder}: splits {', '.join(chosen)}; {unknown[0]!r} is none of ours: choose one with `split`"
        )
    for name, rows in chosen.items():
        stated = {"split": SPLIT_NAMES[name]} if len(chosen) > 1 else {}
        number = 0
        for batch in rows.with_format("arrow").iter(batch_size=4096):
            for values in batch.to_pylist():
                number += 1
                yield Raw(folder / name, number, {**stated, **values})
