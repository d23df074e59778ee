"""Random draws of training that depend only on a seed and a key, never on earlier draws."""

from collections.abc import Iterator

import numpy as np


def random(seed: int, *key: int) -> np.random.Generator:
    """A random generator that depends only on seed and key, not on earlier draws."""
    return np.random.Generator(np.random.PCG64([seed, *key]))


def in_random_order(draw: np.random.Generator, size: int) -> Iterator[int]:
    """The numbers below `size` in a uniformly random order, each drawn when it is asked for.

    Fisher and Yates' shuffle of a list that is never written out: `moved` holds the places that differ from the
    sorted list, so the first k numbers cost k draws, whatever `size`.
    """
    moved: dict[int, int] = {}
    for place in range(size):
        other = int(draw.integers(place, size))
        yield moved.get(other, other)
        moved[other] = moved.pop(place, place)
