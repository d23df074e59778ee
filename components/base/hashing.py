"""sha256 hashes of files, folders and plain values."""

import hashlib
import json
from pathlib import Path
from typing import Any


def content_hash(path: Path) -> str:
    """sha256 (hex) of a file, or of a folder's files with their relative names; compiled Python is left out.

    Raises:
        FileNotFoundError: nothing is at `path`.
    """
    if path.is_file():
        return file_hash(path)
    if not path.is_dir():
        raise FileNotFoundError(path)
    digest = hashlib.sha256()
    for file in sorted(path.rglob("*")):
        if file.is_file() and "__pycache__" not in file.parts:
            digest.update(f"{file.relative_to(path).as_posix()}\0{file_hash(file)}\n".encode())
    return digest.hexdigest()


def file_hash(path: Path) -> str:
    """sha256 (hex) of one file."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def json_hash(value: Any) -> str:
    """sha256 (hex) of plain values as JSON, keys in order."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
