"""Several LoRA adapters of one student and rank become one of the same rank (`train.merge`).

An adapter adds dW_i = s B_i A_i to a projection (arXiv 2106.09685, eq. 3; B [out, r], A [r, in], s = alpha / r), and dW
is what is merged:

    dW = sum_i c_i dW_i = s [c_1 B_1 ... c_n B_n] [A_1; ...; A_n]

The means of A and of B are no such sum: mean(B) mean(A) = 1/n^2 sum_ij B_i A_j mixes each B_i with the other adapters'
A_j. The right side is exact and of rank n r. Its closest product of rank r is its singular value decomposition cut to
the r largest values (Eckart and Young 1936); what is cut is measured:

    error = sqrt( sum |dW - cut(dW)|^2 / sum |dW|^2 )      over all projections, Frobenius norms

Coefficients c, w = the adapters' shares (they add up to 1), per projection:

    average   c_i = w_i                                                    (model soups, arXiv 2203.05482)
    slerp     c_i = x_i l / |dW_i|, l = sum_i w_i |dW_i|

with sum_i x_i u_i the spherical mean of the directions u_i = dW_i / |dW_i|: the point of the unit sphere with the
least sum_i w_i angle^2 (Buss and Fillmore 2001, algorithm A1). Of two adapters it is Shoemake's slerp (1985), x_1 =
sin((1 - w_2) a) / sin a, x_2 = sin(w_2 a) / sin a with a the angle between them; the order of the adapters is without
effect. Bags and light adapters merged this way: BOOM, arXiv 2602.05787.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch

Weights = dict[str, torch.Tensor]
_A, _B = ".lora_A.", ".lora_B."


class Merged(NamedTuple):
    """Weights of the merged adapter, and the share of its update (a norm) that rank r could not hold."""

    weights: Weights
    error: float


def merge_adapters(adapters: Sequence[Weights], shares: Sequence[float], method: Literal["average", "slerp"]) -> Merged:
    """One adapter of the same names, shapes and precision. Weights that are no LoRA pair (embedding rows) are added
    up with the coefficients of `method` too.

    Args:
        adapters: trainable weights by name, `...lora_A.<adapter>.weight` and `...lora_B.<adapter>.weight`.
        shares: of each adapter; they add up to 1.
    """
    merged: Weights = {}
    cut = whole = 0.0
    for name in adapters[0]:
        own = [weights[name].double() for weights in adapters]
        if _B in name:
            continue
        if _A not in name:
            flat = torch.stack([weight.flatten() for weight in own])
            factors = coefficients(flat @ flat.T, shares, method)
            merged[name] = (factors @ flat).view_as(own[0])
            continue
        other = name.replace(_A, _B)
        b = [weights[other].double() for weights in adapters]
        merged[other], merged[name], left, norm = _merge_pair(b, own, shares, method)
        cut, whole = cut + left, whole + norm
    same = {name: merged[name].to(weight).contiguous() for name, weight in adapters[0].items()}
    return Merged(same, (cut / whole) ** 0.5 if whole else 0.0)


def _merge_pair(
    b: Sequence[torch.Tensor], a: Sequence[torch.Tensor], shares: Sequence[float], method: Literal["average", "slerp"]
) -> tuple[torch.Tensor, torch.Tensor, float, float]:
    """B and A of rank r, and the squared norms of what was cut and of the whole (both without s)."""
    gram = torch.stack(
        [
            torch.stack([((bi.T @ bj) * (ai @ aj.T)).sum() for bj, aj in zip(b, a, strict=True)])
            for bi, ai in zip(b, a, strict=True)
        ]
    )  # <B_i A_i, B_j A_j> without [out, in] products
    factors = coefficients(gram, shares, method)
    left, right = torch.cat([c * bi for c, bi in zip(factors, b, strict=True)], dim=1), torch.cat(list(a))
    q_left, r_left = torch.linalg.qr(left)
    q_right, r_right = torch.linalg.qr(right.T)
    u, values, v = torch.linalg.svd(r_left @ r_right.T)
    rank, roots = len(a[0]), values.sqrt()
    kept = min(rank, len(values))
    merged_b, merged_a = torch.zeros_like(b[0]), torch.zeros_like(a[0])
    merged_b[:, :kept] = q_left @ (u[:, :kept] * roots[:kept])
    merged_a[:kept] = (roots[:kept, None] * v[:kept]) @ q_right.T
    squares = values.square()
    return merged_b, merged_a, float(squares[kept:].sum()), float(squares.sum())


def coefficients(gram: torch.Tensor, shares: Sequence[float], method: Literal["average", "slerp"]) -> torch.Tensor:
    """c of the module's formula, float64 [n].

    Slerp is the average where it has no direction: an adapter that is 0, or directions that cancel out.

    Args:
        gram: inner products of the adapters' updates of one projection, float64 [n, n].
    """
    w = torch.tensor(shares, dtype=torch.float64)
    lengths = gram.diagonal().clamp_min(0).sqrt()
    if method == "average" or not bool((lengths > 0).all()):
        return w
    cosines = gram / (lengths[:, None] * lengths)
    x = _spherical_mean(cosines, w)
    return w if x is None else x * (w @ lengths) / lengths


_ROUNDS, _SMALL = 100, 1e-12


def _spherical_mean(cosines: torch.Tensor, w: torch.Tensor) -> torch.Tensor | None:
    """x of the mean sum_i x_i u_i of unit vectors, from their cosines [n, n]; None where they cancel out.

    From the normalised average on: the steps' direction is sum_i w_i log_m(u_i), log_m(u) = a / sin a (u - cos a m).
    """
    x = w / w.sum()
    for _ in range(_ROUNDS):
        length = (x @ cosines @ x).clamp_min(0).sqrt()
        if length < 1e-6:
            return None
        x = x / length
        towards = (cosines @ x).clamp(-1, 1)  # cos a of each u_i
        angles = torch.arccos(towards)
        scale = w / torch.sinc(angles / torch.pi).clamp_min(1e-6)  # w a / sin a
        step = scale - (scale @ towards) * x
        size = float((step @ cosines @ step).clamp_min(0).sqrt())
        if size < _SMALL:
            break
        x = torch.cos(torch.tensor(size)) * x + torch.sin(torch.tensor(size)) / size * step
    return x
