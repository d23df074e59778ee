"""How many threads numerical libraries use in this process and in pools of threads."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager


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


def worker_count(threads: int) -> int:
    """`threads`, or every core this process may use when it is 0."""
    return threads or len(os.sched_getaffinity(0))
