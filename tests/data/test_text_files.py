"""Text files: how they are compressed and encoded is found out, and what is damaged is named in one line."""

import bz2
import gzip
import lzma
from collections.abc import Callable
from pathlib import Path

import pyarrow
import pytest

from components.base.errors import UserError
from tests.data.test_collection import QUERIES, collection
from tests.data.test_formats import read, rows, write

LINES = '{"query": "how do I reset it", "document": "Hold the button."}\n' * 2
ROW = {"query": "how do I reset it", "document": "Hold the button."}
PACK: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": lambda data: pyarrow.compress(data, codec="zstd", asbytes=True),
}


@pytest.mark.parametrize("ending", PACK)
@pytest.mark.parametrize("name", ["a.jsonl.{}", "a.jsonl.{}".upper(), "a.jsonl"])
def test_a_compressed_file_is_known_by_its_bytes(tmp_path: Path, ending: str, name: str) -> None:
    packed = PACK[ending](LINES.encode())
    (tmp_path / name.format(ending)).write_bytes(packed)
    assert rows(tmp_path / name.format(ending), "jsonl") == [ROW, ROW]
    (tmp_path / "two").write_bytes(packed + packed)  # as `cat a.gz b.gz` makes it
    assert len(rows(tmp_path / "two", "jsonl")) == 4


@pytest.mark.parametrize("ending", PACK)
def test_half_a_compressed_file_is_one_line(tmp_path: Path, ending: str) -> None:
    packed = PACK[ending]("".join(LINES + str(number) for number in range(500)).encode())
    (tmp_path / f"a.jsonl.{ending}").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(UserError, match=rf"a\.jsonl\.{ending}: cannot be read \(.+\); damaged file") as caught:
        read(tmp_path / f"a.jsonl.{ending}", "jsonl")
    assert "\n" not in str(caught.value)


def test_other_bytes_under_a_compressed_name(tmp_path: Path) -> None:
    write(tmp_path / "plain.jsonl.gz", LINES)
    assert len(rows(tmp_path / "plain.jsonl.gz", "jsonl")) == 2
    (tmp_path / "noise.jsonl.gz").write_bytes(b"\xff\xfd\xfe\x00" * 9)
    with pytest.raises(UserError, match=r"noise\.jsonl\.gz: neither a \.gz file nor text; download it again"):
        read(tmp_path / "noise.jsonl.gz", "jsonl")
    for name, cure in (
        ("a.7z", "an archive; unpack it"),
        ("a.tar.gz", "an archive; unpack it"),
        ("a.xlsx", "a workbook"),
    ):
        with pytest.raises(UserError, match=rf"{name}: {cure}"):
            read(write(tmp_path / name, LINES), "jsonl")


def test_a_collection_may_be_compressed(tmp_path: Path) -> None:
    folder = collection(tmp_path / "in", '{"query_id": "q1", "doc_id": "d1"}\n')
    (folder / "queries.jsonl").unlink()
    (folder / "queries.jsonl.gz").write_bytes(gzip.compress(QUERIES.encode()))
    assert len(rows(folder, "collection")) == 3


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    assert rows(write(tmp_path / "a.jsonl", "\ufeff" + LINES), "jsonl") == [ROW, ROW]
    table = "\ufeffquery,document\r\nhow do I reset it,Hold the button.\r\n"
    assert rows(write(tmp_path / "a.csv", table), "csv") == [ROW]
    assert rows(write(tmp_path / "a.csv", table), "csv", fields={"query": "query", "document": "document"}) == [ROW]
    assert rows(write(tmp_path / "b.csv", table[1:], "utf-16"), "csv", encoding="utf-16") == [ROW]
    write(tmp_path / "in/sports/1.txt", "\ufeffGoal")
    assert rows(tmp_path / "in", "text_folders") == [{"text": "Goal", "label": "sports"}]
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(table.encode()))
    assert rows(tmp_path / "a.csv.gz", "csv") == [ROW]


@pytest.mark.parametrize(
    ("cut", "cause"), [(None, r": line 1: not utf-8 text; set"), (-4, r": cannot be read \(.+damaged")]
)
def test_packed_text_of_another_encoding_is_named_as_that_and_a_damaged_end_too(
    tmp_path: Path, cut: int | None, cause: str
) -> None:
    file = tmp_path / "a.jsonl.gz"
    line = LINES.encode() * 5000 if cut else b""
    file.write_bytes(gzip.compress(line + b'{"query": "caf\xe9"}')[:cut])
    with pytest.raises(UserError, match=rf"a\.jsonl\.gz{cause}"):
        read(file, "jsonl")


@pytest.mark.parametrize(
    ("begin", "what"),
    [
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 9\n",
            "a Git LFS pointer .*`git lfs pull`",
        ),
        (b"<!DOCTYPE html>\n<html>", "a web page; download the file itself"),
        (b"PK\x03\x04\x14\x00", "a zip archive or a workbook under another name"),
        (b"%PDF-1.4\n", "a PDF"),
        (gzip.compress(gzip.compress(b"x", mtime=0), mtime=0), r"holds a \.gz file; unpack it once"),
    ],
)
@pytest.mark.parametrize("format", ["jsonl", "json", "csv", "tsv", "parquet"])
def test_what_is_no_table_is_named(tmp_path: Path, begin: bytes, what: str, format: str) -> None:
    (tmp_path / f"a.{format}").write_bytes(begin)
    with pytest.raises(UserError, match=rf"a\.{format}: {what}"):
        read(tmp_path / f"a.{format}", format)
