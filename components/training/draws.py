"""A random order that is drawn as far as it is read."""

from collections.abc import Iterator

import numpy as np


def in_random_order(draw: np.random.Generator, size: int) -> Iterator[int]:
    """The numbers below `size` in a uniformly random order, each drawn when it is asked for.

    Fisher and Yates' shuffle of a list that is never written out: `moved` holds the places that differ from the
    sorted list, so the first k numbers cost k draws for any `size`.
    """
    moved: dict[int, int] = {}
    for place in range(size):
        other = int(draw.integers(place, size))
        yield moved.get(other, other)
        moved[other] = moved.pop(place, place)
