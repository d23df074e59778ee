"""How many threads numerical libraries use in this process and in pools of threads."""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


@contextmanager
def single_threaded() -> Iterator[None]:
    """Within: numpy's and torch's products use one thread each."""
    import torch
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1, user_api="blas"):
            yield
    finally:
        torch.set_num_threads(before)


def workers(threads: int) -> ThreadPoolExecutor:
    """Threads whose own products use one thread each: OpenMP keeps that number per thread."""
    import torch

    return ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))


def map_single_threaded(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """`function` of each item, in order: each call computes on one thread, as many at a time as torch would use.

    So the rounding of a result does not depend on the number of threads.
    """
    import torch

    threads = torch.get_num_threads()
    if threads == 1:
        yield from map(function, items)
        return
    with single_threaded(), workers(threads) as pool:
        yield from pool.map(function, items)


def worker_count(threads: int) -> int:
    """`threads`, or every core this process may use when it is 0."""
    return threads or len(os.sched_getaffinity(0))
