"""Attention over a packed row, registered with transformers as `attn_implementation="packed"`.

The model's forward takes the row as a keyword (`model(..., row=row)`); transformers hands it down to every layer.
"""

from typing import Any

import torch
import torch.nn.functional as functional
from transformers import AttentionInterface

from components.model.packing import PREFIX, Row

PACKED = "packed"
_FLEX_BLOCK = 128  # FlexAttention's block size: rows on CUDA are padded to a multiple of it


def packed_attention(
    module: torch.nn.Module,
    query: torch.Tensor,  # [1, H, T, D]
    key: torch.Tensor,  # [1, H_kv, T, D]
    value: torch.Tensor,  # [1, H_kv, T, D]
    attention_mask: torch.Tensor | None,
    scaling: float,
    row: Row,
    dropout: float = 0.0,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """transformers' attention interface for a `Row`; returns [1, T, H, D]."""
    if query.is_cuda:
        return flex_attention_over(row, query, key, value, scaling, compiled_flex()), None
    return blocked_attention(row, query, key, value, scaling), None


AttentionInterface.register(PACKED, packed_attention)


def blocked_attention(
    row: Row, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float
) -> torch.Tensor:
    """SDPA over the prefix and over small blocks of sequences; [1, H, T, D] in, [1, T, H, D] out.

    Padding stands at the sequences' ends, so under causal attention no real token ever looks at it and one mask
    [L, prefix + L] serves a whole block. Where no gradient is needed, all sequences look at the prefix together and at
    themselves apart, and the two are joined by their softmax denominators: the prefix is not copied for each sequence.
    """
    groups = query.shape[1] // key.shape[1]
    q, k, v = query[0].transpose(0, 1), key[0].transpose(0, 1), value[0].transpose(0, 1)  # [T, H, D]
    prefix = row.prefix_length
    apart = prefix > 0 and not torch.is_grad_enabled() and query.device.type == "cpu"
    outputs, weights = [], []
    for block in row.blocks:
        n, width = block.index.shape
        flat = block.index.reshape(-1)
        bq, bk, bv = (x.index_select(0, flat).view(n, width, *x.shape[1:]).transpose(1, 2) for x in (q, k, v))
        if apart:
            attended, total = _with_total(bq, _repeat(bk, groups), _repeat(bv, groups), True, scaling)
            weights.append(total.transpose(1, 2).reshape(n * width, -1))
        else:
            if prefix:
                bk, bv = (_with_prefix(x[:prefix], b) for x, b in ((k, bk), (v, bv)))
            mask = _block_mask(row, width, block.lengths)
            attended = _attend(bq, _repeat(bk, groups), _repeat(bv, groups), mask, scaling)  # [n, H, L, D]
        outputs.append(attended.transpose(1, 2).reshape(n * width, *q.shape[1:]))
    result = torch.cat(outputs).index_select(0, row.unblock)  # [T - prefix, H, D]
    if prefix:
        head_key, head_value = _repeat(key[:, :, :prefix], groups), _repeat(value[:, :, :prefix], groups)
        if apart:
            own = torch.cat(weights).index_select(0, row.unblock)  # [T - prefix, H]
            seen, total = _with_total(query[:, :, prefix:], head_key, head_value, False, scaling)
            share = torch.sigmoid(total[0].transpose(0, 1) - own)[..., None]  # of the softmax that the prefix gets
            result = torch.lerp(result.float(), seen[0].transpose(0, 1).float(), share).to(value.dtype)
        head = _attend(query[:, :, :prefix], head_key, head_value, None, scaling)
        result = torch.cat([head[0].transpose(0, 1), result])
    return result[None]


def _with_total(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, causal: bool, scaling: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """SDPA on a CPU, and the log of each row's softmax denominator [n, H, L]; without gradients for the latter."""
    attend = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    attended, total = attend(query, key, value, 0.0, causal, attn_mask=None, scale=scaling)
    return attended, total


def _attend(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None, scaling: float
) -> torch.Tensor:
    """Attention [n, H, L, D] under a boolean mask, causal without one.

    In bf16 on a CPU it is written out: SDPA's backward takes 44 ms there for 16 texts of 64 tokens and 9 heads, this 9.
    """
    if query.device.type != "cpu" or query.dtype != torch.bfloat16:
        return functional.scaled_dot_product_attention(
            query, key, value, attn_mask=mask, is_causal=mask is None, scale=scaling
        )
    if mask is None:
        mask = torch.ones(query.shape[2], key.shape[2], dtype=torch.bool).tril()
    scores = (query @ key.transpose(-1, -2)).float() * scaling
    return scores.masked_fill(~mask, float("-inf")).softmax(-1).to(value.dtype) @ value


def _with_prefix(prefix: torch.Tensor, block: torch.Tensor) -> torch.Tensor:
    """[P, H, D] and [n, H, L, D] -> [n, H, P + L, D]."""
    return torch.cat([prefix.transpose(0, 1)[None].expand(block.shape[0], -1, -1, -1), block], dim=2)


def _repeat(x: torch.Tensor, groups: int) -> torch.Tensor:
    """[n, H_kv, L, D] -> [n, H_kv * groups, L, D] (grouped-query attention)."""
    return x if groups == 1 else x.repeat_interleave(groups, dim=1)


def _block_mask(row: Row, width: int, lengths: torch.Tensor) -> torch.Tensor | None:
    if not row.causal:
        return (torch.arange(width, device=lengths.device)[None, :] < lengths[:, None])[:, None, None, :]
    if not row.prefix_length:
        return None  # SDPA's own causal kernel
    own = torch.ones(width, width, dtype=torch.bool, device=lengths.device).tril()
    return functional.pad(own, (row.prefix_length, 0), value=True)


def flex_attention_over(
    row: Row, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float, flex: Any
) -> torch.Tensor:
    """FlexAttention with the row's mask as a BlockMask; [1, H, T, D] in, [1, T, H, D] out."""
    block_mask = row.__dict__.get("_flex_mask")
    if block_mask is None:  # built once a row, used by every layer
        block_mask = row.__dict__["_flex_mask"] = flex_mask(row)
    pad = -row.tokens % _FLEX_BLOCK
    padded = (functional.pad(x, (0, 0, 0, pad)) for x in (query, key, value))
    attended = flex(*padded, block_mask=block_mask, scale=scaling, enable_gqa=query.shape[1] != key.shape[1])
    return attended[:, :, : row.tokens].transpose(1, 2)


def flex_mask(row: Row) -> Any:
    """The row's structure as FlexAttention's BlockMask; padding tokens look at themselves only."""
    from torch.nn.attention.flex_attention import create_block_mask

    size = row.tokens + (-row.tokens % _FLEX_BLOCK)
    segments = functional.pad(row.segments, (0, size - row.tokens), value=-1)
    causal = row.causal

    def seen(batch: Any, head: Any, q: Any, k: Any) -> Any:
        same = (segments[q] == segments[k]) | (segments[k] == PREFIX)
        ordered = same & (q >= k) if causal else same
        return torch.where(segments[q] < 0, q == k, ordered)

    return create_block_mask(seen, None, None, size, size, device=str(row.segments.device), BLOCK_SIZE=_FLEX_BLOCK)


_compiled: list[Any] = []


def compiled_flex() -> Any:
    """flex_attention, compiled at first use (CUDA only: eager FlexAttention writes all scores out)."""
    if not _compiled:
        from torch.nn.attention.flex_attention import flex_attention

        _compiled.append(torch.compile(flex_attention, dynamic=True))
    return _compiled[0]
