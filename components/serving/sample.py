"""A sample of served queries on disk, for the monitor: off unless asked for, redacted, without time of day or user.

    sample = QuerySample(root / ".cache" / "served", share=0.05)
    sample.note("boolq", ["is the sky blue"])

A line of queries.jsonl is one query: its day, its task and its text with addresses and numbers replaced. The file is
readable by its owner only, and the oldest lines go when there are more than `most`.
"""

import json
import logging
import os
import random
import re
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from components.base.files import whole_file

log = logging.getLogger(__name__)
FOLDER = Path(".cache") / "served"
FILE = "queries.jsonl"
_REDACTED = (  # in this order: an e-mail address may hold digits
    ("<url>", re.compile(r"\b(?:[a-z][a-z0-9+.-]*://|www\.)\S+", re.IGNORECASE)),  # databases too
    ("<email>", re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")),
    ("<iban>", re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b")),
    ("<secret>", re.compile(r"\b(?=[A-Za-z0-9_-]*\d)(?=[A-Za-z0-9_-]*[A-Za-z])[A-Za-z0-9_-]{20,}\b")),
    ("<number>", re.compile(r"\+?\d(?:[ ./()-]{0,2}\d){3,}")),
)


def redact(text: str) -> str:
    """The text without web and e-mail addresses, account numbers, keys, and numbers of four digits or more.

    Names of people stay: no rule finds them. Where they may not be kept, leave the sample off.

    >>> redact("mail ann@example.com or call +49 (30) 1234567 about order 3 of 2026")
    'mail <email> or call <number> about order 3 of <number>'
    """
    for placeholder, pattern in _REDACTED:
        text = pattern.sub(placeholder, text)
    return text


class QuerySample:
    """Keeps a share of the queries passed to `note`; safe from several threads."""

    def __init__(self, folder: Path, share: float, most: int = 20_000) -> None:
        self._file, self._share, self._most = folder / FILE, share, most
        self._one_writer, self._random = threading.Lock(), random.Random()
        self._lines: int | None = None  # of the file, counted when it is first written to
        self._failing = False
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def note(self, task: str, queries: Sequence[str]) -> None:
        """Keep each of these queries with the probability `share`. A full disk is a warning: the answer goes on."""
        with self._one_writer:
            kept = [query for query in queries if self._random.random() < self._share]
            if not kept:
                return
            day = datetime.now(UTC).date().isoformat()
            lines = [json.dumps({"day": day, "task": task, "query": redact(query)}) + "\n" for query in kept]
            try:
                self._append(lines)
                self._failing = False
            except OSError as problem:
                if not self._failing:
                    log.warning("the sample of queries is not written: %s", problem)
                self._failing = True

    def _append(self, lines: list[str]) -> None:
        """Add lines, and drop the oldest quarter when there are more than `most`.

        They are counted here, because a request waits for this: the whole file is read once in `most` / 4 lines.
        """
        handle = os.open(self._file, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            size = os.fstat(handle).st_size
            torn = size > 0 and os.pread(handle, 1, size - 1) != b"\n"  # the disk was full in the middle of a line
            os.write(handle, ("\n" * torn + "".join(lines)).encode())
        finally:
            os.close(handle)
        if self._lines is not None and self._lines + len(lines) <= self._most:
            self._lines += len(lines)
            return
        known = self._file.read_text(encoding="utf-8").splitlines(keepends=True)
        if len(known) > self._most:
            known = known[-self._most * 3 // 4 :]
            with whole_file(self._file) as partial:
                partial.touch(0o600)
                partial.write_text("".join(known), encoding="utf-8")
        self._lines = len(known)


def read_sample(folder: Path, days: int, today: datetime) -> dict[str, list[str]]:
    """The distinct sampled queries of the last `days` days by task; empty without a sample."""
    file, found = folder / FILE, dict[str, dict[str, None]]()
    for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else []:
        try:
            entry = json.loads(line)
        except ValueError:  # the disk was full, or the service was killed, in the middle of the line
            continue
        if (today.date() - datetime.fromisoformat(entry["day"]).date()).days < days:
            found.setdefault(entry["task"], {})[entry["query"]] = None
    return {task: list(queries) for task, queries in sorted(found.items())}
