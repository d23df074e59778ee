"""A corpus of vectors read in blocks, a few of them in memory at a time."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future

import numpy as np

DOCUMENT_BLOCK = 8192  # numpy compares rows of this length three times as fast as rows of half of it
GROUP = 4  # blocks handed to the threads at a time, at most
GROUP_BYTES = 2**26

Blocks = Callable[[], Iterable[np.ndarray]]  # gives the corpus in order, float32 [<= DOCUMENT_BLOCK, dim] each


def in_groups(blocks: Iterable[np.ndarray]) -> Iterator[list[np.ndarray]]:
    """Lists of up to GROUP blocks; fewer where vectors are long, so that a group is hardly larger than GROUP_BYTES."""
    group: list[np.ndarray] = []
    for block in blocks:
        group.append(block)
        if len(group) == GROUP or sum(one.nbytes for one in group) >= GROUP_BYTES:
            yield group
            group = []
    if group:
        yield group


def wait_for_all(tasks: Iterable[Future[None]]) -> None:
    """Wait until all are done. Called after the next group was submitted, it keeps at most two groups in memory."""
    for task in tasks:
        task.result()
