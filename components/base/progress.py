"""Progress bars with an ETA (tqdm)."""

import sys
from collections.abc import Iterable, Iterator, Sized
from typing import Any, TextIO, TypeVar

from tqdm import tqdm

T = TypeVar("T")
_LINE = "{desc}: {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_fmt}{postfix}]"  # no drawing in a log file


def progress(items: Iterable[T], what: str, total: int | None = None, unit: str = "it") -> Iterator[T]:
    """Iterate `items` under a bar labelled `what`; `total` is needed for an ETA when `items` has no length."""
    with bar(what, total if total is not None else _length(items), unit) as shown:
        for item in items:
            yield item
            shown.update(1)


def bar(what: str, total: int | None, unit: str = "it") -> Any:
    """A bar that the caller `update()`s. Without a terminal it prints one line every 10 seconds."""
    if sys.stderr.isatty():
        return tqdm(total=total, desc=what, unit=unit, dynamic_ncols=True, mininterval=0.2, smoothing=0.1)
    return tqdm(
        total=total,
        desc=what,
        unit=unit,
        file=_Lines(sys.stderr),
        bar_format=_LINE if total else None,
        mininterval=10,
        smoothing=0.1,
    )


class _Lines:
    """A text stream that writes each redraw of tqdm's bar as a separate line."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        if text := text.strip():
            self._stream.write(f"{text}\n")

    def flush(self) -> None:
        self._stream.flush()


def _length(items: Iterable[T]) -> int | None:
    return len(items) if isinstance(items, Sized) else None
