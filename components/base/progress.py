"""Progress bars with an ETA, the same in every stage."""

import sys
from collections.abc import Iterable, Iterator, Sized
from typing import Any, TypeVar

from tqdm import tqdm

T = TypeVar("T")


def progress(items: Iterable[T], what: str, total: int | None = None, unit: str = "it") -> Iterator[T]:
    """Iterate `items` under a bar labelled `what`; `total` is needed for an ETA when `items` has no length."""
    with bar(what, total if total is not None else _length(items), unit) as shown:
        for item in items:
            yield item
            shown.update(1)


def bar(what: str, total: int | None, unit: str = "it") -> Any:
    """A bar to `update()` by hand. In a log file (no terminal) it prints a line every 10 seconds."""
    terminal = sys.stderr.isatty()
    return tqdm(
        total=total,
        desc=what,
        unit=unit,
        dynamic_ncols=terminal,
        ncols=None if terminal else 100,
        mininterval=0.2 if terminal else 10,
        smoothing=0.1,
    )


def _length(items: Iterable[T]) -> int | None:
    return len(items) if isinstance(items, Sized) else None
