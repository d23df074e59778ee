"""The next step's data, made in a thread while the device computes this step."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Generic, Self, TypeVar

Made = TypeVar("Made")


class Ahead(Generic[Made]):
    """Makes what each of `steps` needs, in order; `take` gives it.

    One thread makes one step at a time, at most one step ahead. What it makes depends on the step alone, so a resumed
    run sees the same. An error of `make` is raised by `take`.
    """

    def __init__(self, make: Callable[[int], Made], steps: range) -> None:
        self._make, self._steps = make, iter(steps)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ahead")
        self._next: Future[Made] | None = None
        self._begin()

    def take(self) -> Made:
        """The data of the next step; starts making that of the step after it."""
        assert self._next is not None
        made = self._next.result()
        self._begin()
        return made

    def settle(self) -> None:
        """Wait until nothing is being made: before the main thread uses the tokenizer itself."""
        if self._next is not None:
            self._next.exception()

    def _begin(self) -> None:
        step = next(self._steps, None)
        self._next = None if step is None else self._thread.submit(self._make, step)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._thread.shutdown()
