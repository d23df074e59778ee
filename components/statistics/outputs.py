"""Smaller forms of a vector: int8, binary, and the first N dimensions.

    float32   as it is
    int8      scaled to its largest component and rounded to -127 to 127: no calibration, so a vector stands alone
    binary    a bit a component: is it positive
    dimN      the first N components, L2-normalised again

They are compared by cosine; that of two binary vectors is 1 - 2 * (bits that differ) / dimensions.
"""

import numpy as np

from components.base.errors import UserError

LARGEST = 127


def convert(vectors: np.ndarray, output: str) -> np.ndarray:
    """The stored form of float32 vectors [n, dim].

    >>> convert(np.array([[0.6, -0.8]], dtype=np.float32), "int8").tolist()
    [[95, -127]]
    >>> convert(np.array([[0.6, -0.8]], dtype=np.float32), "binary").tolist()
    [[128]]
    """
    if output == "float32":
        return vectors
    if output == "int8":
        largest = np.abs(vectors).max(axis=1, keepdims=True)
        return np.rint(vectors * (LARGEST / np.maximum(largest, 1e-12))).astype(np.int8)
    if output == "binary":
        return np.packbits(vectors > 0, axis=1)
    return _normalized(vectors[:, : int(output.removeprefix("dim"))])


def comparable(vectors: np.ndarray, output: str) -> np.ndarray:
    """float32, L2-normalised: what the stored form of `vectors` is when it is read again."""
    stored = convert(vectors, output)
    if output == "binary":
        bits = np.unpackbits(stored, axis=1, count=vectors.shape[1])
        return _normalized(bits.astype(np.float32) * 2 - 1)
    return stored if output == "float32" else _normalized(stored.astype(np.float32))


def check_output(output: str, dimension: int) -> None:
    """Raises UserError: more dimensions than the model has."""
    if output.startswith("dim") and int(output.removeprefix("dim")) > dimension:
        raise UserError(
            f"evaluate.outputs: {output}: the model has {dimension} dimensions; name at most dim{dimension}"
        )


def _normalized(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
