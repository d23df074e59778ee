"""Text files of a source: their encoding, and their lines."""

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from components.base.errors import UserError
from components.config import SourceParams


def find_encoding(path: Path, params: SourceParams) -> str:
    """The first of the source's encodings that can read the whole file."""
    choices = [params.encoding] if isinstance(params.encoding, str) else params.encoding
    for encoding in choices:
        try:
            with open_text(path, encoding) as handle:
                while handle.read(1 << 20):
                    pass
        except UnicodeDecodeError:
            continue
        except LookupError:
            raise UserError(f"encoding: {encoding!r} is unknown; use utf-8, latin-1 or another of Python's") from None
        return encoding
    raise UserError(f"{path}: not {' or '.join(choices)} text; set the source's `encoding`")


def open_text(path: Path, encoding: str, newline: str = "\n") -> IO[str]:
    """A text file, unpacked on the way when its name ends in .gz."""
    return (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding=encoding, newline=newline)


def read_lines(path: Path, params: SourceParams) -> Iterator[tuple[int, str]]:
    """Lines that are not blank, with their number from 1."""
    with open_text(path, find_encoding(path, params)) as handle:
        for number, line in enumerate(handle, start=1):
            if line.strip():
                yield number, line.rstrip("\r\n")
