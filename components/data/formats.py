"""Readers: the files of one source -> rows with our column names. One reader a format, all of them generators.

What a source may hold (all text is non-empty UTF-8 after reading):

    pairs        query, document [, score] [, label] [, split]  score: relevance, 0 = judged and not relevant
    labelled     text, label [, split]
    graded       text1, text2, score [, split]                  score: any scale, higher is closer
    summaries    text, correct, incorrect                       one faithful and one unfaithful summary
    collection   query_id, query, doc_id, document, score       a folder with corpus, queries and qrels; a document
                                                                without a query has query_id, query and score null

`fields` maps our column to the file's. A malformed row stops the stage with its file, row and field; `drop_empty`,
`drop_duplicates`, a value mapped to null and `max_rows` are the only ways to lose a row, and the data card counts them.

Shapes: `lists` is how mteb packs clustering and pair data (one row, parallel lists); `positives_and_negatives` is
FlagEmbedding's training row (query, pos, neg, and scores, prompt and type that we leave: teacher and prompts are ours),
as in the hub data set cfli/bge-full-data. Its positives become pairs of score 1, its negatives of score 0.
"""

import csv
import gzip
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO, Any

import polars as pl

from components.base.errors import UserError
from components.config import SourceParams
from components.data.origins import Files

TEXTS = ("query", "document", "text", "label", "text1", "text2", "correct", "incorrect", "query_id", "doc_id", "split")
NUMBERS = ("score",)
LISTS = ("positives", "negatives")
COLUMNS = (*TEXTS, *NUMBERS)
SPLITS = ("train", "dev", "test")


@dataclass(frozen=True)
class Raw:
    """One row as the file has it, and where it stands."""

    file: Path
    row: int  # from 1, header not counted
    values: dict[str, Any]

    def error(self, column: str, what: str) -> UserError:
        """A one-line error that names this row and the file's own column."""
        return UserError(f"{self.file}: row {self.row}: field {column}: {what}")


@dataclass
class Counts:
    """How many rows were read, and how many the source's own rules left out."""

    read: int = 0
    dropped: dict[str, int] = field(default_factory=lambda: {"empty": 0, "duplicate": 0, "value": 0})


class _LeftOutError(Exception):
    """A rule of the source leaves this row out; its text is the rule's name in `Counts.dropped`."""


def read_source(files: Files, params: SourceParams) -> tuple[pl.DataFrame, Counts]:
    """Every row of a source under our column names, in file order.

    Raises:
        UserError: a malformed row, an empty text, an unknown value, or a column the file does not have.
    """
    counts, seen = Counts(), set()
    frames: list[pl.DataFrame] = []
    rows: list[dict[str, Any]] = []
    for raw in islice(READERS[params.format](files, params), params.max_rows):
        for one in SHAPES[params.shape](raw, params):
            counts.read += 1
            try:
                row = _row(one, params)
                identity = tuple(row.values())
                if params.drop_duplicates and identity in seen:
                    raise _LeftOutError("duplicate")
            except _LeftOutError as rule:
                counts.dropped[str(rule)] += 1
                continue
            if params.drop_duplicates:
                seen.add(identity)
            rows.append(row)
        if len(rows) >= _CHUNK:  # plain Python rows take several times the memory of a frame
            frames.append(_frame(rows))
            rows = []
    if not rows and not frames:
        raise UserError(f"{files.root}: no rows; check the source's path and format")
    return pl.concat([*frames, _frame(rows)], how="diagonal"), counts


_CHUNK = 100_000


def _frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    names = [name for name in COLUMNS if any(name in row for row in rows)]
    schema = {name: pl.Float64() if name in NUMBERS else pl.String() for name in names}
    return pl.DataFrame([{name: row.get(name) for name in names} for row in rows], schema=schema)


def _row(raw: Raw, params: SourceParams) -> dict[str, Any]:
    """Our columns of one row. Raises _LeftOutError when a rule of the source leaves it out."""
    row: dict[str, Any] = {}
    for ours, theirs in _mapping(raw, params).items():
        value = raw.values[theirs]
        if ours in params.values:
            value = _translated(raw, theirs, value, params.values[ours])
        if value is None and params.format == "collection":
            row[ours] = None
        elif ours in NUMBERS:
            row[ours] = _number(raw, theirs, value)
        else:
            row[ours] = _text(raw, theirs, value)
            if not row[ours]:
                if params.drop_empty:
                    raise _LeftOutError("empty")
                raise raw.error(theirs, "empty; correct or remove the row, or set drop_empty: true")
    if row.get("split") not in (None, *SPLITS):
        raise raw.error("split", f"{row['split']!r} is not a split; expected {', '.join(SPLITS)}")
    return row


def _mapping(raw: Raw, params: SourceParams) -> dict[str, str]:
    """Our column -> the file's column, all of them present in this row."""
    named = params.fields
    if params.format == "documents_and_ratings" or params.shape == "positives_and_negatives":
        named = {}  # there, `fields` names the files or the lists, and the rows come under our names
    mapping = named or {name: name for name in raw.values if name in COLUMNS}
    if not mapping:
        raise raw.error(", ".join(raw.values), f"none is one of ours ({', '.join(COLUMNS)}); set `fields`")
    for ours, theirs in mapping.items():
        if ours not in COLUMNS:
            raise UserError(f"fields.{ours}: not a column of ours; expected one of {', '.join(COLUMNS)}")
        if theirs not in raw.values:
            raise raw.error(theirs, f"missing; the row has {', '.join(raw.values)}: correct `fields` or the file")
    return mapping


def _translated(raw: Raw, column: str, value: Any, known: dict[str, str | None]) -> str:
    if str(value) not in known:
        raise raw.error(column, f"unexpected value {str(value)!r}; `values` knows {', '.join(known)}")
    kept = known[str(value)]
    if kept is None:
        raise _LeftOutError("value")
    return kept


def _number(raw: Raw, column: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise raw.error(column, f"not a number: {value!r}; correct the row, or map it with `values`") from None
    if number != number or number in (float("inf"), float("-inf")):
        raise raw.error(column, "not a finite number; correct or remove the row")
    return number


def _text(raw: Raw, column: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, (list, dict)):
        raise raw.error(column, f"holds a {type(value).__name__}, expected text; correct `fields`")
    return str(value).strip()


# ---------------------------------------------------------------- shapes


def _one_row(raw: Raw, params: SourceParams) -> Iterator[Raw]:
    yield raw


def _parallel_lists(raw: Raw, params: SourceParams) -> Iterator[Raw]:
    """[{a: [1, 2], b: [3, 4]}] -> {a: 1, b: 3}, {a: 2, b: 4}."""
    lists = {theirs: raw.values[theirs] for theirs in _mapping(raw, params).values()}
    for name, values in lists.items():
        if not isinstance(values, list):
            raise raw.error(name, f"holds a {type(values).__name__}, expected a list (shape: lists)")
    lengths = {name: len(values) for name, values in lists.items()}
    if len(set(lengths.values())) > 1:
        raise raw.error(next(iter(lengths)), f"lists differ in length: {lengths}; correct the row")
    for values in zip(*lists.values(), strict=True):
        yield Raw(raw.file, raw.row, dict(zip(lists, values, strict=True)))


def _positives_and_negatives(raw: Raw, params: SourceParams) -> Iterator[Raw]:
    """One row a document: query, document, score (1 or 0) [, label]. FlagEmbedding's own names are the default."""
    names = {"query": "query", "positives": "pos", "negatives": "neg", **params.fields}
    for ours, theirs in names.items():
        if ours not in ("query", "label", *LISTS):
            raise UserError(f"fields.{ours}: no column of this shape; expected query, label, {', '.join(LISTS)}")
        if theirs not in raw.values and ours != "negatives":
            raise raw.error(theirs, f"missing; the row has {', '.join(raw.values)}: correct `fields` or the file")
    shared: dict[str, Any] = {ours: raw.values[names[ours]] for ours in ("query", "label") if ours in names}
    positives = _texts(raw, names["positives"])
    if not positives:
        raise raw.error(names["positives"], "empty; a query needs a positive: correct or remove the row")
    negatives = _texts(raw, names["negatives"])[: params.negatives]
    for score, documents in ((1.0, positives), (0.0, negatives)):
        for document in documents:
            yield Raw(raw.file, raw.row, {**shared, "document": document, "score": score})


def _texts(raw: Raw, column: str) -> list[str]:
    values = raw.values.get(column)
    if values is None:
        return []
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise raw.error(column, "expected a list of texts; correct `fields` or the file")
    return values


SHAPES: dict[str, Callable[[Raw, SourceParams], Iterator[Raw]]] = {
    "rows": _one_row,
    "lists": _parallel_lists,
    "positives_and_negatives": _positives_and_negatives,
}


# ---------------------------------------------------------------- readers


def _encoding(path: Path, params: SourceParams) -> str:
    """The first of the source's encodings that can read the whole file."""
    choices = [params.encoding] if isinstance(params.encoding, str) else params.encoding
    for encoding in choices:
        try:
            with _opened(path, encoding) as handle:
                while handle.read(1 << 20):
                    pass
        except UnicodeDecodeError:
            continue
        except LookupError:
            raise UserError(f"encoding: {encoding!r} is unknown; use utf-8, latin-1 or another of Python's") from None
        return encoding
    raise UserError(f"{path}: not {' or '.join(choices)} text; set the source's `encoding`")


def _opened(path: Path, encoding: str, newline: str = "\n") -> IO[str]:
    """A text file, unpacked on the way when its name ends in .gz."""
    return (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding=encoding, newline=newline)


def _lines(path: Path, params: SourceParams) -> Iterator[tuple[int, str]]:
    with _opened(path, _encoding(path, params)) as handle:
        for number, line in enumerate(handle, start=1):
            if line.strip():
                yield number, line.rstrip("\r\n")


def read_jsonl(files: Files, params: SourceParams) -> Iterator[Raw]:
    """One JSON object a line."""
    for path in files.paths():
        yield from _jsonl(path, params)


def _jsonl(path: Path, params: SourceParams) -> Iterator[Raw]:
    for number, line in _lines(path, params):
        try:
            values = json.loads(line)
        except json.JSONDecodeError as problem:
            message = f"{path}: row {number}: not valid JSON ({problem.msg}); correct or remove the line"
            raise UserError(message) from None
        if not isinstance(values, dict):
            raise UserError(f"{path}: row {number}: not a JSON object; expected one object a line")
        yield Raw(path, number, values)


def read_csv(files: Files, params: SourceParams) -> Iterator[Raw]:
    """Comma-separated with a header; quotes as RFC 4180."""
    yield from _delimited(files, params, delimiter=",", quoting=csv.QUOTE_MINIMAL)


def read_tsv(files: Files, params: SourceParams) -> Iterator[Raw]:
    """Tab-separated with a header; quotes are ordinary characters."""
    yield from _delimited(files, params, delimiter="\t", quoting=csv.QUOTE_NONE)


def _delimited(files: Files, params: SourceParams, delimiter: str, quoting: int) -> Iterator[Raw]:
    csv.field_size_limit(1 << 30)
    for path in files.paths():
        with _opened(path, _encoding(path, params), newline="") as handle:
            reader = csv.reader(handle, delimiter=delimiter, quoting=quoting)  # type: ignore[arg-type]  # int is right
            try:
                header = next(reader, [])
                for number, cells in enumerate(reader, start=1):
                    if number <= params.skip_rows or not cells:
                        continue
                    if len(cells) != len(header):
                        what = f"{len(cells)} cells, the header has {len(header)}"
                        raise UserError(f"{path}: row {number}: {what}; correct or remove the row")
                    yield Raw(path, number, dict(zip(header, cells, strict=True)))
            except csv.Error as problem:
                raise UserError(f"{path}: malformed table ({problem}); correct the file") from None


def read_parquet(files: Files, params: SourceParams) -> Iterator[Raw]:
    """Parquet, read a batch at a time."""
    for path in files.paths():
        yield from _parquet(path)


def _parquet(path: Path) -> Iterator[Raw]:
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


def read_text_lines(files: Files, params: SourceParams) -> Iterator[Raw]:
    """A record a line, taken apart by `pattern` (a regular expression with named groups)."""
    if not params.pattern:
        raise UserError("pattern: a text_lines source needs a regular expression with named groups")
    pattern = re.compile(params.pattern)
    for path in files.paths():
        for number, line in _lines(path, params):
            match = pattern.fullmatch(line.strip())
            if not match:
                raise UserError(f"{path}: row {number}: does not match `pattern`; correct the line or the pattern")
            yield Raw(path, number, match.groupdict())


def read_text_folders(files: Files, params: SourceParams) -> Iterator[Raw]:
    """A text a file; the name of its folder is the label."""
    for name, path in zip(files.names, files.paths(), strict=True):
        folder, _, _ = name.rpartition("/")
        if not folder:
            raise UserError(f"{path}: lies in no folder; a text_folders source has a folder for each label")
        text = path.read_text(encoding=_encoding(path, params))
        yield Raw(path, 1, {"text": " ".join(text.split()), "label": folder.rpartition("/")[2]})


def read_documents_and_ratings(files: Files, params: SourceParams) -> Iterator[Raw]:
    """Two files: a document a line, and the upper triangle of a tab-separated matrix of ratings.

    `fields` names them: {documents: file, ratings: file}. Gives text1, text2, score for every pair i < j.
    """
    chosen = {}
    for part in ("documents", "ratings"):
        name = params.fields.get(part)
        if name is None or name not in files.names:
            raise UserError(f"fields.{part}: {name!r} is not a file of the source ({', '.join(files.names)})")
        chosen[part] = files.root / name
    documents = [line for _, line in _lines(chosen["documents"], params)]
    for number, line in _lines(chosen["ratings"], params):
        cells = line.split("\t")
        if len(cells) != len(documents) or number > len(documents):
            what = f"{len(cells)} ratings for {len(documents)} documents"
            raise UserError(f"{chosen['ratings']}: row {number}: {what}; the matrix is square")
        for column in range(number, len(documents)):
            values = {"text1": documents[number - 1], "text2": documents[column], "score": cells[column]}
            yield Raw(chosen["ratings"], number, values)


def read_collection(files: Files, params: SourceParams) -> Iterator[Raw]:
    """A folder with corpus, queries and qrels (.jsonl or .parquet): doc_id, text | query_id, text | ids, relevance."""
    corpus = _by_id(files, params, "corpus", "doc_id")
    queries = _by_id(files, params, "queries", "query_id")
    judged = set()
    for raw in _part(files, params, "qrels"):
        for column, known in (("query_id", queries), ("doc_id", corpus)):
            if raw.values.get(column) not in known:
                where = "corpus" if column == "doc_id" else "queries"
                raise raw.error(column, f"unknown id {raw.values.get(column)!r}; add it to {where} or remove the row")
        query, document = queries[raw.values["query_id"]], corpus[raw.values["doc_id"]]
        judged.add(raw.values["doc_id"])
        yield Raw(raw.file, raw.row, _joined(query, document, raw.values.get("relevance", 1)))
    for identity, document in corpus.items():
        if identity not in judged:
            yield Raw(document.file, document.row, _joined(None, document, None))


def _joined(query: Raw | None, document: Raw, relevance: Any) -> dict[str, Any]:
    return {
        "query_id": query and query.values["query_id"],
        "query": query and query.values.get("text"),
        "split": query and query.values.get("split"),
        "doc_id": document.values["doc_id"],
        "document": document.values.get("text"),
        "score": relevance,
    }


def _by_id(files: Files, params: SourceParams, part: str, column: str) -> dict[str, Raw]:
    rows: dict[str, Raw] = {}
    for raw in _part(files, params, part):
        identity = raw.values.get(column)
        if not isinstance(identity, str) or not identity:
            raise raw.error(column, "missing or not text; every row needs an id")
        if identity in rows:
            raise raw.error(column, f"duplicate id {identity!r}; ids must be unique")
        if not _text(raw, "text", raw.values.get("text")):
            raise raw.error("text", "empty; correct or remove the row")
        rows[identity] = raw
    return rows


def _part(files: Files, params: SourceParams, part: str) -> Iterator[Raw]:
    for name in files.names:
        if name == f"{part}.jsonl":
            return _jsonl(files.root / name, params)
        if name == f"{part}.parquet":
            return _parquet(files.root / name)
    raise UserError(f"{files.root}: no {part}.jsonl or {part}.parquet; a collection needs corpus, queries and qrels")


def read_hub(files: Files, params: SourceParams) -> Iterator[Raw]:
    """A data set in any layout of the hub: the library `datasets` finds its files by configuration and split."""
    from datasets import load_dataset

    split = params.split or "train"
    try:
        rows = load_dataset(str(files.root), params.config, split=split, streaming=True)
        for number, values in enumerate(rows, start=1):
            yield Raw(files.root, number, values)
    except (ValueError, OSError) as problem:  # what `datasets` raises for a wrong configuration, split or file
        reason = " ".join(str(problem).split())[:160]
        raise UserError(f"{files.root}: config {params.config!r}, split {split!r}: {reason}") from None


READERS: dict[str, Callable[[Files, SourceParams], Iterator[Raw]]] = {
    "jsonl": read_jsonl,
    "csv": read_csv,
    "tsv": read_tsv,
    "parquet": read_parquet,
    "text_lines": read_text_lines,
    "text_folders": read_text_folders,
    "documents_and_ratings": read_documents_and_ratings,
    "collection": read_collection,
    "hub": read_hub,
}
