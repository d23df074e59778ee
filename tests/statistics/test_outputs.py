"""Smaller forms of vectors: what they hold, and what comparing them gives."""

import numpy as np
import pytest

from components.base.errors import UserError
from components.statistics.outputs import check_output, comparable, convert

VECTORS = np.random.default_rng(0).normal(size=(50, 96)).astype(np.float32)
VECTORS /= np.linalg.norm(VECTORS, axis=1, keepdims=True)


@pytest.mark.parametrize(("output", "size"), [("float32", 384), ("int8", 96), ("binary", 12), ("dim8", 32)])
def test_sizes_and_lengths(output: str, size: int) -> None:
    assert convert(VECTORS[:1], output).nbytes == size
    found = comparable(VECTORS, output)
    assert (found.dtype, found.flags["C_CONTIGUOUS"] or output.startswith("dim")) == (np.float32, True)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)


def test_int8_keeps_every_component_to_half_a_step_and_stands_alone() -> None:
    stored = convert(VECTORS, "int8")
    assert (stored.min() >= -127, np.abs(stored).max(axis=1).tolist()) == (True, [127] * 50)
    step = np.abs(VECTORS).max(axis=1, keepdims=True) / 127
    assert (np.abs(stored * step - VECTORS) <= step / 2 + 1e-7).all()
    np.testing.assert_array_equal(convert(VECTORS[7:8], "int8")[0], stored[7])


def test_binary_s_cosine_counts_the_bits_that_differ() -> None:
    bits = np.unpackbits(convert(VECTORS, "binary"), axis=1)
    differ = (bits[:, None] != bits[None]).sum(axis=2)
    found = comparable(VECTORS, "binary")
    np.testing.assert_allclose(found @ found.T, 1 - 2 * differ / 96, atol=1e-6)


def test_fewer_dimensions_are_the_first_ones() -> None:
    first = VECTORS[:, :8]
    shorter = first / np.linalg.norm(first, axis=1, keepdims=True)
    np.testing.assert_allclose(comparable(VECTORS, "dim8"), shorter, atol=1e-6)
    check_output("dim96", 96)
    with pytest.raises(UserError, match=r"evaluate\.outputs: dim97: the model has 96 dimensions; name at most dim96"):
        check_output("dim97", 96)
