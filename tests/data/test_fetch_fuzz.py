"""Random files through fetch: every row is read, counted or refused in one line, and no other exception comes.

100 examples in the suite. 10,000 of them, some ten minutes beside other work:
python -m pytest tests/data/test_fetch_fuzz.py --hypothesis-profile=thorough
"""

import bz2
import csv
import gzip
import io
import json
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.base.errors import UserError
from components.data.cells import INVISIBLE
from components.data.counts import Counts
from components.data.layouts import COLLECTIONS, LAYOUTS
from tests.data.test_formats import read

FUZZ = settings(
    max_examples=settings.default.max_examples // 4,  # of each of the four tests
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
PACK: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
}
TEXT = st.text(max_size=30) | st.sampled_from(
    ["e\u0301", "\u00e9", "\ufb01", "\u200b", '"', 'a "b', "a,b;c\td", "a\nb"]
)
PAIRS = st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=6)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
VALUES = st.recursive(
    LEAVES, lambda one: st.lists(one, max_size=3) | st.dictionaries(st.text(max_size=5), one, max_size=3)
)
KNOWN = sorted(
    {
        name.removesuffix("?").removesuffix("#")
        for layouts in LAYOUTS.values()
        for layout in layouts
        for spec in layout.columns.values()
        for part in ([spec] if isinstance(spec, str) else spec)
        for name in part.split("|")
    }
)


def read_or_refuse(path: Path, format: str, **more: Any) -> tuple[pl.DataFrame, Counts] | None:
    try:
        return read(path, format, **more)
    except UserError as problem:
        lines = str(problem).splitlines()
    assert len(lines) == 1, lines
    return None


def is_empty(text: str) -> bool:
    return not text.strip().strip(INVISIBLE)


def in_format(pairs: list[tuple[str, str]], format: str, delimiter: str) -> str:
    rows = [{"query": query, "nested": {"document": document}} for query, document in pairs]
    if format == "jsonl":
        return "".join(json.dumps(row, ensure_ascii=len(pairs) % 2 == 0) + "\n" for row in rows)
    if format == "json":
        return json.dumps(rows, indent=len(pairs) % 3)
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, quoting=csv.QUOTE_ALL if len(pairs) % 2 else csv.QUOTE_MINIMAL)
    writer.writerows([("query", "nested.document"), *pairs])
    return text.getvalue()


@pytest.mark.slow
@FUZZ
@given(
    pairs=PAIRS,
    format=st.sampled_from(["jsonl", "json", "csv", "parquet"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32", "latin-1", "gb18030"]),
    delimiter=st.sampled_from([",", ";", "\t"]),
    pack=st.sampled_from(list(PACK)),
)
def test_every_row_of_a_sound_file_is_read_or_counted(
    tmp_path: Path, pairs: list[tuple[str, str]], format: str, encoding: str, delimiter: str, pack: str
) -> None:
    fields = {"query": "query", "document": "nested.document"}
    path, more = tmp_path / f"a.{format}{pack}", {"fields": fields, "drop_empty": True}
    if format == "parquet":
        path = tmp_path / "a.parquet"
        pl.DataFrame([{"query": query, "nested": {"document": one}} for query, one in pairs]).write_parquet(path)
    else:
        try:
            path.write_bytes(PACK[pack](in_format(pairs, format, delimiter).encode(encoding)))
        except UnicodeEncodeError:
            return  # latin-1 has no such character
        more["encoding"] = encoding
    kept = [(query.strip(), one.strip()) for query, one in pairs if not (is_empty(query) or is_empty(one))]
    found = read_or_refuse(path, format, **more)
    if found is None:
        assert not kept or format == "csv"  # a lone carriage return in a cell is refused
        return
    assert found[0].select("query", "document").rows() == kept
    assert found[1].read == len(pairs) == len(kept) + found[1].dropped["empty"]


@FUZZ
@given(
    content=st.binary(max_size=80)
    | st.tuples(PAIRS, st.integers(0, 200), st.binary(max_size=3), st.sampled_from(list(PACK))).map(
        lambda made: _broken(*made)
    ),
    format=st.sampled_from(["jsonl", "json", "csv", "tsv", "parquet", "sentence_transformers", "trec"]),
    ending=st.sampled_from([".jsonl", ".json", ".csv", ".tsv", ".parquet", ".gz", ".zip", ".csv.zst", ""]),
)
def test_broken_files_are_refused_in_one_line(tmp_path: Path, content: bytes, format: str, ending: str) -> None:
    path = tmp_path / f"a{ending}"
    path.write_bytes(content)
    found = read_or_refuse(path, format, drop_empty=True)
    assert found is None or found[1].read == len(found[0]) + sum(found[1].dropped.values())


def _broken(pairs: list[tuple[str, str]], place: int, junk: bytes, pack: str) -> bytes:
    whole = PACK[pack](in_format(pairs, "csv" if place % 2 else "jsonl", ",").encode("utf-8"))
    return whole[:place] + junk + whole[place + place % 5 :]


@pytest.mark.slow
@FUZZ
@given(
    rows=st.lists(st.dictionaries(st.sampled_from(KNOWN), VALUES, min_size=1, max_size=5), min_size=1, max_size=4),
    format=st.sampled_from([*LAYOUTS, "jsonl"]),
    skip=st.booleans(),
)
def test_rows_of_any_values_are_read_or_refused(
    tmp_path: Path, rows: list[dict[str, Any]], format: str, skip: bool
) -> None:
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (tmp_path / "corpus.jsonl").write_text('{"docid": "1", "text": "one"}\n', encoding="utf-8")
    path = tmp_path if format == "corpus_and_ids" else tmp_path / "train.jsonl"
    found = read_or_refuse(path, format, drop_empty=skip, on_missing="skip" if skip else "refuse")
    if found:
        frame, counts = found
        assert counts.read == len(frame) + sum(counts.dropped.values())
        texts = [
            text for name in ("query", "document", "text", "text1") if name in frame.columns for text in frame[name]
        ]
        assert all(text is None or not is_empty(text) for text in texts)


@pytest.mark.slow
@FUZZ
@given(
    corpus=st.dictionaries(st.text("ab1", min_size=1, max_size=3), TEXT, min_size=1, max_size=5),
    queries=st.dictionaries(st.text("ab1", min_size=1, max_size=3), TEXT, min_size=1, max_size=4),
    judged=st.lists(st.tuples(st.text("ab1", max_size=2), st.text("ab1", max_size=2), st.integers(-1, 3)), max_size=6),
    format=st.sampled_from(["collection", "beir"]),
)
def test_every_judgement_and_document_of_a_collection_is_read_or_counted(
    tmp_path: Path,
    corpus: dict[str, str],
    queries: dict[str, str],
    judged: list[tuple[str, str, int]],
    format: str,
) -> None:
    names = {part: known.columns for part, known in COLLECTIONS[format].items()}
    doc_id, query_id = (
        str(names[part][f"{of}_id"]).split("|")[0] for part, of in (("corpus", "doc"), ("queries", "query"))
    )
    own = [str(names["qrels"][name]).split("|")[0] for name in ("query_id", "doc_id", "score")]
    parts = {
        "corpus": [{doc_id: one, "text": text} for one, text in corpus.items()],
        "queries": [{query_id: one, "text": text} for one, text in queries.items()],
        "qrels": [dict(zip(own, row, strict=True)) for row in judged],
    }
    for part, rows in parts.items():
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / f"{part}.jsonl").write_text(lines, encoding="utf-8")
    found = read_or_refuse(tmp_path, format, drop_empty=True, on_missing="skip")
    if found is None:
        return
    frame, counts = found
    assert counts.read == len(frame) + sum(counts.dropped.values())
    whole = {one for one, text in corpus.items() if not is_empty(text)}
    assert set(frame["doc_id"]) == whole
    assert len(frame) + sum(counts.dropped.values()) >= len(judged)
