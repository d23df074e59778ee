"""Detect the layout of a user's file or folder: `foundry data inspect` names it and writes the source for params.yaml.

Candidates come from the table of layouts and the names and columns of the files; the first that reads is taken. What is
shown is what fetch would read.
"""

import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

import polars as pl
import yaml

from components.base.errors import UserError
from components.config import SourceParams
from components.config.fetch import COLLECTIONS
from components.data.cells import Raw
from components.data.columns import WHOLE
from components.data.counts import Counts
from components.data.delimited import first_cells
from components.data.formats import read_source
from components.data.guess import Settings, guess_settings, name_columns
from components.data.guess_encoding import guess_encoding
from components.data.headerless import is_header, is_id, refuse_lines_above, without_header
from components.data.layouts import COLLECTIONS as PARTS
from components.data.layouts import COLUMNS, LAYOUTS, NLI_CLASSES, find_columns, layout_columns, recognise
from components.data.local_files import bare_name
from components.data.origins import Files, collect
from components.data.part_files import find_part
from components.data.readers import READERS
from components.data.table_files import file_kind
from components.data.text_files import find_mark, read_begin, read_lines, refuse_archive

KINDS = {"query": "retrieval", "text1": "sts", "correct": "summarization", "text": "classification"}  # of tasks


@dataclass
class Finding:
    """A layout that reads: its settings, every row, and what was counted. problem: why none reads."""

    about: str
    settings: Settings
    rows: pl.DataFrame = field(default_factory=pl.DataFrame)
    counts: Counts = field(default_factory=Counts)
    problem: str = ""


def inspect_path(path: Path) -> Finding:
    """Detect the layout of a file or folder.

    Raises:
        UserError: there is no such file, or nothing in it looks like a data set.
    """
    path = path.expanduser().resolve()
    if not path.exists():
        raise UserError(f"{path}: no such file or folder; correct the path")
    if path.is_dir() and not any(one.is_file() for one in path.rglob("*")):
        raise UserError(f"{path}: a folder without files; correct the path")
    with tempfile.TemporaryDirectory() as cache:
        files = collect(_source({"format": "hub"}, path), str(path), Path(cache) / ".cache")
        failed: Finding | None = None
        try:
            for about, settings in _candidates(files, path):
                try:
                    rows, counts = _read(settings, path, Path(cache))
                except UserError as problem:
                    failed = failed or Finding(about, settings, problem=str(problem))
                    continue
                return Finding(about, settings, rows, counts)
        except UserError as problem:
            if failed is None:  # else the likelier layout, which has failed, is the one to tell of
                raise files.outside_the_cache(problem) from None
    if failed is None:
        raise UserError(f"{path}: holds nothing that looks like a data set; docs/data.md lists the layouts")
    return failed


def _source(settings: Settings, path: Path) -> SourceParams:
    return SourceParams.model_validate({"origin": {"kind": "local", "path": str(path), "licence": "-"}, **settings})


def _read(settings: Settings, path: Path, cache: Path) -> tuple[pl.DataFrame, Counts]:
    params = _source(settings, path)
    files = collect(params, str(path), cache / ".cache")
    rows, counts = read_source(files, params)
    counts.skipped += files.left_out
    return rows, counts


def _candidates(files: Files, path: Path) -> Iterator[tuple[str, Settings]]:
    """Possible layouts of the files, the most specific first: (about, settings)."""
    names = [bare_name(name) for name in files.names]
    if any(name.endswith(("dataset_dict.json", "state.json")) for name in names):
        yield from _by_columns(files, path, "dataset")
        return
    collections = list(_collections(files, path))
    yield from collections
    if collections:  # its files are no rows of pairs
        return
    if len(names) > 1 and all(name.endswith(".txt") and "/" in name for name in names):
        yield "a folder of texts for each label", {"format": "text_folders"}
    pool = [name for name in files.names if "pool" in bare_name(name)]
    others = [name for name in files.names if name not in pool and _kind(files.root / name)]
    if pool and len(others) == 1:
        for about, settings in _by_columns(_only(files, others), path):
            yield f"{about}, and a pool of documents", {**settings, "files": {"rows": others[0], "pool": pool[0]}}
    yield from _by_kind(_only(files, others), path)


def _collections(files: Files, path: Path) -> Iterator[tuple[str, Settings]]:
    """Layouts of several parts, each of which has a file."""
    for name in COLLECTIONS:
        params = _source({"format": name}, path)
        if all(find_part(files, params, part, known) for part, known in PARTS[name].items()):
            yield f"a collection: corpus, queries and judgements ({name})", {"format": name}
    ids = _source({"format": "corpus_and_ids"}, path)
    found = {part: find_part(files, ids, part, PARTS["corpus_and_ids"][part]) for part in ("corpus", "rows")}
    if all(found.values()):
        rows = files.root / found["rows"][0]
        columns = first_cells(rows, ids, _kind(rows)) if _kind(rows) in ("csv", "tsv") else []
        settings: Settings = {"format": "corpus_and_ids"}
        if len(columns) in (2, 3) and all(is_id(cell) for cell in columns):  # MS MARCO's files have no header
            settings["columns"] = {"rows": ["query_id", "positive_id", "negative_id"][: len(columns)]}
        yield "pairs that name their documents by id, and a corpus", settings


def _by_kind(files: Files, path: Path) -> Iterator[tuple[str, Settings]]:
    """Layouts of rows by the kind of file, the likeliest first: a .txt beside other files is a note."""
    problem: UserError | None = None
    found: list[tuple[str, Settings]] = []
    by_kind: dict[str, list[str]] = {}
    for name in files.names:
        by_kind.setdefault("txt" if bare_name(name).endswith(".txt") else _kind(files.root / name), []).append(name)
    for kind in sorted(by_kind, key=("jsonl", "json", "parquet", "csv", "tsv", "txt").index):
        try:
            found += _by_columns(_only(files, by_kind[kind]), path)
        except UserError as one:
            problem = problem or one
    if problem and not found:
        raise problem
    if not files.names and path.suffix.lower() != ".zip":
        refuse_archive(path)
    yield from found


def _only(files: Files, names: list[str]) -> Files:
    return Files(files.root, names, files.version, files.sha256)


def _kind(path: Path) -> str:
    """jsonl, json, csv, tsv or parquet, by ending or content; empty for anything else."""
    try:
        return file_kind(path)
    except UserError:
        begin = _begin(path, 200)
    if begin.startswith(b"PAR1"):
        return "parquet"
    if begin.lstrip()[:1] in (b"{", b"["):
        return "jsonl" if begin.lstrip()[:1] == b"{" else "json"
    return ""


def _begin(path: Path, size: int) -> bytes:
    with path.open("rb") as handle:
        return handle.read(size)


def _by_columns(files: Files, path: Path, kind: str = "") -> Iterator[tuple[str, Settings]]:
    """Layouts of rows, by the columns of the first file's first row."""
    kind = kind or _kind(files.paths()[0])
    basic: Settings = {"format": kind, **_encoding(files, kind)}
    if kind == "tsv" and _has_quoted_cells(files.paths()[0], _source(basic, path)):
        basic["quotes"] = True
    cells = first_cells(files.paths()[0], _source(basic, path), kind) if kind in ("csv", "tsv") else []
    if cells and not is_header(cells):
        yield from without_header(cells, basic, path)
        return
    raw = _first_row(files, cells, basic, path)
    found = list(_of_header(raw, basic, kind))
    if not found:
        refuse_lines_above(cells, path)
        raise UserError(f"{path}: {name_columns(raw)}")
    yield from found


def _of_header(raw: Raw, basic: Settings, kind: str) -> Iterator[tuple[str, Settings]]:
    """Layouts whose columns the row has, and what is like one."""
    columns = list(raw.values)
    more = {name: value for name, value in basic.items() if name != "format"}
    own: set[str] = set()  # what the likeliest layout reads; one that reads less would hide that a row of it is bad
    if any(set(names) <= set(columns) for names in WHOLE):
        is_saved = kind == "dataset"
        yield "a data set that save_to_disk wrote" if is_saved else f"rows with our own column names ({kind})", basic
        own = set(columns) & (set(COLUMNS) - {"instruction"})
    layouts = {name: layout_columns(name, columns) for name in recognise(columns) if name != "corpus_and_ids"}
    for name, read in layouts.items():
        if not own <= read:
            continue
        values = {"values": {"score": _classes()}} if {"premise", "hypothesis", "label"} <= set(columns) else {}
        yield _about(name, columns), {"format": name, **more, **values}
    for about, settings in guess_settings(raw, basic):
        names = [one for spec in settings["fields"].values() for one in ([spec] if isinstance(spec, str) else spec)]
        if all(one <= set(names) for one in (own, *(read - {"title", "query_id", "id"} for read in layouts.values()))):
            yield about, settings


def _encoding(files: Files, kind: str) -> Settings:
    """The encoding setting where utf-8 or a byte order mark does not do."""
    if kind in ("parquet", "dataset"):
        return {}
    first = files.paths()[0]
    begin = read_begin(first, 1 << 20)
    encoding = "utf-8" if find_mark(first) else guess_encoding(first, begin)
    return {} if encoding == "utf-8" else {"encoding": encoding}


def _has_quoted_cells(path: Path, params: SourceParams) -> bool:
    """Whether a cell of the first lines is enclosed in quotes, as in Excel's Unicode text."""
    first = islice(read_lines(path, params), 1000)
    return any(len(cell) > 1 and cell[0] == cell[-1] == '"' for _, line in first for cell in line.split("\t"))


def _first_row(files: Files, cells: list[str], settings: Settings, path: Path) -> Raw:
    params = _source(settings, path)
    if cells:
        return Raw(files.paths()[0], 0, dict.fromkeys(cells, ""))
    raw = next(islice(READERS[params.format](files, params, Counts()), 1), None)
    if raw is None:
        raise UserError(f"{path}: no rows; check the path")
    return raw


def _classes() -> dict[str, str | None]:
    return dict(yaml.safe_load(NLI_CLASSES))


def _about(name: str, columns: list[str]) -> str:
    layout = next((one for one in LAYOUTS[name] if not find_columns(one.columns, columns)[1]), LAYOUTS[name][0])
    return f"{name}: {layout.about}"


def paste_block(finding: Finding, path: str, name: str) -> dict[str, Any]:
    """The part of params.yaml that reads the file, and a task of its rows; a tenth each for dev and test."""
    origin = {"kind": "local", "path": path, "licence": "internal"}
    source = {"origin": origin, **finding.settings}
    kind = next((kind for column, kind in KINDS.items() if column in finding.rows.columns), "retrieval")
    column = next((column for column in KINDS if column in finding.rows.columns), None)
    number = finding.rows[column].drop_nulls().n_unique() if column else 0
    held_out = min(number // 10, 500)
    sizes = {"train": number - 2 * held_out, "dev": held_out, "test": held_out}
    task = {"source": name, "kind": kind, "instruction": "SAY WHAT A QUERY LOOKS FOR", **sizes}
    if kind == "classification":
        task["positives"] = "label" if _are_words(finding.rows["label"]) else "example"
    return {"fetch": {"sources": {name: source}}, "prepare": {"tasks": {name: task}}}


def _are_words(labels: pl.Series) -> bool:
    """Whether labels mean something as texts; numbers and single letters do not."""
    return bool(labels.str.contains(r"\p{L}{2}").any())


def source_name(path: Path) -> str:
    """A name for the source: the file's, without endings and what a name must not hold."""
    return re.sub(r"[^a-z0-9_]+", "-", PurePosixPath(bare_name(path.name)).stem).strip("-_") or "mine"
