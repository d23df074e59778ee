"""Vectors rounded to int8 with a scale, and the norm of each one's rounding error."""

from dataclasses import dataclass

import numpy as np
import torch

from components.base.errors import UserError

_PIECE = 512  # rows at a time: they stay in a core's cache


@dataclass(frozen=True)
class Rounded:
    """Rounded vectors: scale * values."""

    values: torch.Tensor  # int8 or float32 [n, dim]
    scale: np.ndarray  # float64 [n], or [1] for all
    norm: np.ndarray  # float64 [n]: of the rounded vectors
    error: np.ndarray  # float64 [n]: norm of (true - rounded)


def integers_are_fast() -> bool:
    """Whether this CPU multiplies int8 exactly and faster than float32 (VNNI)."""
    return bool(torch.cpu._is_vnni_supported())


def round_to_int8(vectors: np.ndarray, by_row: bool, out: np.ndarray | None = None) -> Rounded:
    """Round float32 [n, dim] vectors to int8 [n, dim], in `out` if given, with a scale for each row, or one for all.

    Raises:
        UserError: a vector is not finite.
    """
    peak = _peak(vectors, axis=1 if by_row else None)
    scale = np.where(peak > 0, peak.astype(np.float64) / 127, 1.0)
    inverse = (1 / scale).astype(np.float32)
    values = np.empty(vectors.shape, dtype=np.int8) if out is None else out
    norm, error = np.empty((2, len(vectors)))
    space = np.empty((2, min(_PIECE, len(vectors)), vectors.shape[1]), dtype=np.float32)
    for start in range(0, len(vectors), _PIECE):
        rows = slice(start, start + _PIECE)
        scaled, nearest = space[:, : len(vectors[rows])]
        np.multiply(vectors[rows], inverse[rows] if by_row else inverse[0, 0], out=scaled)
        values[rows] = np.rint(scaled, out=nearest)
        norm[rows] = _norms(nearest)
        error[rows] = _norms(np.subtract(scaled, nearest, out=scaled))
    return Rounded(torch.from_numpy(values), scale[:, 0], norm * scale[:, 0], error * scale[:, 0])


def keep_float32(vectors: np.ndarray) -> Rounded:
    """Wrap float32 [n, dim] vectors: scale 1, no error. Raises UserError when one is not finite."""
    _peak(vectors, axis=None)
    return Rounded(torch.from_numpy(vectors), np.ones(len(vectors)), _norms(vectors), np.zeros(len(vectors)))


def _peak(vectors: np.ndarray, axis: int | None) -> np.ndarray:
    """[n, 1] or [1, 1]: the largest absolute value. Raises UserError when it is not finite."""
    peak = np.maximum(vectors.max(axis=axis, keepdims=True), -vectors.min(axis=axis, keepdims=True))
    if not np.isfinite(peak).all():
        raise UserError("a dense teacher gave a vector that is not finite; check its weights and precision")
    return peak


def _norms(vectors: np.ndarray) -> np.ndarray:
    return np.sqrt(np.vecdot(vectors, vectors).astype(np.float64))
