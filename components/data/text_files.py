"""Text files of a source: compression, encoding and line iteration.

Compression is detected from the first bytes, not from the file name. A byte order mark (Excel, PowerShell) names the
encoding, even if the source's `encoding` names another, and is no text.
"""

import bz2
import codecs
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from components.base.errors import UserError
from components.base.short_lines import describe_exception
from components.config import SourceParams


def open_zst(path: Path) -> Any:
    """Open a Zstandard file; Python has no module for it before 3.14."""
    import pyarrow

    return pyarrow.input_stream(str(path), compression="zstd")


COMPRESSIONS: dict[str, tuple[bytes, Callable[[Path], Any]]] = {  # extension: (first bytes, open function)
    ".gz": (b"\x1f\x8b", gzip.open),
    ".bz2": (b"BZh", bz2.open),
    ".xz": (b"\xfd7zXZ\0", lzma.open),
    ".zst": (b"\x28\xb5\x2f\xfd", open_zst),
}
ARCHIVES = (".zip", ".7z", ".rar", ".tar", ".tgz", ".xlsx", ".xls", ".ods")
_BEGIN = 100  # bytes that tell what a file is
SHEETS = (".xlsx", ".xls", ".ods")
MARKS = {  # utf-32 before utf-16: the mark of one begins with that of the other
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
OTHERS: dict[bytes, str] = {  # first bytes: what the file is then, and the cure
    b"version https://git-lfs": "a Git LFS pointer and not the file it stands for; run `git lfs pull`",
    b"PK\x03\x04": "a zip archive or a workbook under another name; unpack it, or save the sheet as CSV UTF-8",
    b"\xd0\xcf\x11\xe0": "a workbook of old Excel under another name; save the sheet as CSV UTF-8",
    b"PAR1": "a Parquet file under another name; name it .parquet and set format: parquet",
    b"ARROW1": "an Arrow file; write it as Parquet",
    b"%PDF-": "a PDF; extract its texts to a file of rows",
    b"SQLite format 3\0": "a SQLite database; export the table as CSV",
    b"<!doctype html": "a web page; download the file itself",
    b"<html": "a web page; download the file itself",
}
DAMAGED = (OSError, EOFError, zlib.error, lzma.LZMAError)


def find_encoding(path: Path, params: SourceParams) -> str:
    """The first of the source's encodings that decodes the whole file.

    Raises:
        UserError: none can, or the file is an archive, damaged, or cannot be opened.
    """
    refuse_archive(path)
    choices = [params.encoding] if isinstance(params.encoding, str) else params.encoding
    try:
        mark = find_mark(path)
    except DAMAGED as problem:
        raise _damaged(path, problem) from None
    for encoding in [mark] if mark else choices:
        try:
            with open_text(path, encoding) as handle:
                begin = handle.read(1 << 20)
                if not mark and begin[:200].count("\0") > len(begin[:200]) / 4:
                    raise UserError(f"{path}: every other byte is 0, as in utf-16; set `encoding: utf-16-le` (or -be)")
                while handle.read(1 << 20):
                    pass
        except UnicodeError:
            continue
        except LookupError:
            raise UserError(f"encoding: {encoding!r} is unknown; use utf-8, latin-1 or another of Python's") from None
        except DAMAGED as problem:
            raise _damaged(path, problem) from None
        return encoding
    if path.suffix.lower() in COMPRESSIONS and _unpacker(path) is None:
        raise UserError(f"{path}: neither a {path.suffix} file nor text; download it again")
    if mark:
        raise UserError(f"{path}: begins with the byte order mark of {mark}, and is not {mark} text; save it again")
    raise UserError(
        f"{path}{_bad_line(path, choices[0])}: not {' or '.join(choices)} text; set the source's `encoding`"
    )


def refuse_archive(path: Path) -> None:
    """Raise a UserError that tells how to read a workbook or archive."""
    if path.suffix.lower() in SHEETS:
        raise UserError(f"{path}: a workbook; save the sheet as CSV UTF-8 and name that file")
    if path.suffix.lower() in ARCHIVES or ".tar" in path.suffixes:
        cure = "name it alone as the path, or unpack it" if path.suffix.lower() == ".zip" else "unpack it"
        raise UserError(f"{path}: an archive; {cure} and name the files in it")


def refuse_other_content(path: Path, begin: bytes) -> None:
    """Raise a UserError if the first bytes are those of something that is no table of rows."""
    start = begin.lstrip(codecs.BOM_UTF8 + b" \r\n\t").lower()
    for magic, what in OTHERS.items():
        if begin.startswith(magic) or start.startswith(magic):
            raise UserError(f"{path}: {what}")
    for ending, (magic, _) in COMPRESSIONS.items():
        if begin.startswith(magic):
            raise UserError(f"{path}: holds a {ending} file; unpack it once")


def _bad_line(path: Path, encoding: str) -> str:
    """Where the first byte stands that is no text in an encoding of the utf-8 or one-byte kind; empty for others."""
    if "\n".encode(encoding) != b"\n":
        return ""
    try:
        with open_text(path, encoding, errors="surrogateescape") as handle:
            for number, line in enumerate(handle, start=1):
                if any("\udc80" <= one <= "\udcff" for one in line):
                    return f": line {number}"
    except DAMAGED as problem:  # its end, which nothing has read before
        raise _damaged(path, problem) from None
    return ""


def _damaged(path: Path, problem: Exception) -> UserError:
    return UserError(f"{path}: cannot be read ({describe_exception(problem)}); damaged file: download it again")


def open_text(path: Path, encoding: str, newline: str = "\n", errors: str = "strict") -> IO[str]:
    """Open a text file, decompressed, without its byte order mark."""
    if codecs.lookup(encoding).name == "utf-8":
        encoding = "utf-8-sig"
    return io.TextIOWrapper(_open_unpacked(path), encoding=encoding, errors=errors, newline=newline)


def find_mark(path: Path) -> str | None:
    """The encoding that a byte order mark at the begin of the file names."""
    with _open_unpacked(path) as handle:
        begin = handle.read(_BEGIN)
    refuse_other_content(path, begin)
    return next((encoding for mark, encoding in MARKS.items() if begin.startswith(mark)), None)


def read_begin(path: Path, size: int) -> bytes:
    """The first bytes, decompressed. Raises a UserError if the file is damaged."""
    try:
        with _open_unpacked(path) as handle:
            return bytes(handle.read(size))
    except DAMAGED as problem:
        raise _damaged(path, problem) from None


def _open_unpacked(path: Path) -> Any:
    unpacker = _unpacker(path)
    return path.open("rb") if unpacker is None else unpacker(path)


def _unpacker(path: Path) -> Callable[[Path], Any] | None:
    """The function that opens the file, by its first bytes; None for a file that is not compressed."""
    with path.open("rb") as handle:
        begin = handle.read(8)
    return next((opened for magic, opened in COMPRESSIONS.values() if begin.startswith(magic)), None)


def read_lines(path: Path, params: SourceParams) -> Iterator[tuple[int, str]]:
    """Non-blank lines with their number from 1."""
    with open_text(path, find_encoding(path, params)) as handle:
        for number, line in enumerate(handle, start=1):
            if line.strip():
                yield number, line.rstrip("\r\n")
