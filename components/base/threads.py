"""Thread counts of numpy and torch, and thread pools."""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


@contextmanager
def single_threaded() -> Iterator[None]:
    """Context in which numpy and torch matrix products use one thread each."""
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
    """A thread pool in which each matrix product uses one thread (OpenMP keeps this setting per thread)."""
    import torch

    return ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))


def map_single_threaded(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Map `function` over `items` in order. Each call computes on one thread; torch's thread count runs in parallel.

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
    """`threads`; if 0, the number of cores this process may use."""
    return threads or len(os.sched_getaffinity(0))
