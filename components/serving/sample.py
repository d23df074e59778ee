"""A sample of served queries on disk, for the monitor: off unless asked for, redacted, without time of day or user.

    sample = QuerySample(root / ".cache" / "served", share=0.05)
    sample.note("boolq", ["is the sky blue"])

A line of queries.jsonl is one query: its day, its task and its text with addresses and numbers replaced. The file is
readable by its owner only, and the oldest lines go when there are more than `most`.
"""

import json
import os
import random
import re
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from components.base.files import whole_file

FOLDER = Path(".cache") / "served"
FILE = "queries.jsonl"
_REDACTED = (  # in this order: an e-mail address may hold digits
    ("<url>", re.compile(r"\b(?:https?://|www\.)\S+", re.IGNORECASE)),
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
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def note(self, task: str, queries: Sequence[str]) -> None:
        """Keep each of these queries with the probability `share`."""
        with self._one_writer:
            kept = [query for query in queries if self._random.random() < self._share]
            if not kept:
                return
            day = datetime.now(UTC).date().isoformat()
            lines = [json.dumps({"day": day, "task": task, "query": redact(query)}) + "\n" for query in kept]
            handle = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                os.write(handle, "".join(lines).encode())
            finally:
                os.close(handle)
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        if self._file.stat().st_size < 100 * self._most:  # fewer than `most` lines of any length that matters
            return
        lines = self._file.read_text(encoding="utf-8").splitlines(keepends=True)
        if len(lines) > self._most:
            with whole_file(self._file) as partial:
                partial.touch(0o600)
                partial.write_text("".join(lines[-self._most * 3 // 4 :]), encoding="utf-8")


def read_sample(folder: Path, days: int, today: datetime) -> dict[str, list[str]]:
    """The distinct sampled queries of the last `days` days by task; empty without a sample."""
    file, found = folder / FILE, dict[str, dict[str, None]]()
    for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else []:
        entry = json.loads(line)
        if (today.date() - datetime.fromisoformat(entry["day"]).date()).days < days:
            found.setdefault(entry["task"], {})[entry["query"]] = None
    return {task: list(queries) for task, queries in sorted(found.items())}
