"""Attention over a packed row, registered with transformers as `attn_implementation="packed"`.

The model's forward takes the row as a keyword (`model(..., row=row)`); transformers passes it to every layer.
"""

from functools import cache
from typing import Any

import torch
import torch.nn.functional as functional
from transformers import AttentionInterface

from components.base.errors import UserError
from components.model.fused import compile_function
from components.model.packing import IN_GROUP, Row
from components.model.shared_prefix_attention import gather_block, shared_prefix_attention

PACKED = "packed"
_FLEX_DEFAULT_NEEDS = 136 * 1024  # bytes of shared memory: torch's forward kernel, and 4 KiB to spare
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
    queries_at: torch.Tensor | None = None,
    sliding_window: int | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """transformers' attention interface for a `Row`; returns [1, T, H, D].

    `queries_at`, int64 [N]: the only tokens at which the result must be correct (components/model/last_layer.py).

    Raises:
        UserError: a sequence is longer than the model's sliding window, which packed rows do not implement.
    """
    if sliding_window is not None and (longest := max(group.longest for group in row.groups)) > sliding_window:
        raise UserError(
            f"encoder: a sequence of {longest} tokens is longer than the student's sliding window of {sliding_window}; "
            "lower prompt.prefix_tokens + prompt.query_tokens, or prompt.document_tokens, to that in params.yaml"
        )
    if query.is_cuda:
        return flex_attention_over(row, query, key, value, scaling, compiled_flex()), None
    if queries_at is not None and len(queries_at) * row.tokens < row.blocked_cells:
        return attention_at(queries_at, row, query, key, value, scaling), None
    return blocked_attention(row, query, key, value, scaling), None


AttentionInterface.register(PACKED, packed_attention)


def attention_at(
    at: torch.Tensor, row: Row, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float
) -> torch.Tensor:
    """Attention of the queries at `at` [N] over the whole row, with a mask [N, T]; zeros at the other tokens."""
    groups = query.shape[1] // key.shape[1]
    q, k, v = query.index_select(2, at), _repeat(key, groups), _repeat(value, groups)
    attended = _attend(q, k, v, row.dense_mask(at), scaling)  # [1, H, N, D]
    heads, dim = query.shape[1], query.shape[3]
    return query.new_zeros(1, row.tokens, heads, dim).index_copy(1, at, attended.transpose(1, 2))


def blocked_attention(
    row: Row, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float
) -> torch.Tensor:
    """SDPA over the prefix and over small blocks of sequences; [1, H, T, D] in, [1, T, H, D] out.

    Padding is on the right, so under causal attention no real token attends to it, and one mask [L, prefix + L] is
    enough for a whole block. `components/model/shared_prefix_attention.py` does the same without a copy of the prefix
    for each sequence, where device and precision allow it.
    """
    if len(row.groups) > 1:
        sizes = [part.tokens for part in row.parts]
        own = zip(row.parts, query.split(sizes, 2), key.split(sizes, 2), value.split(sizes, 2), strict=True)
        return torch.cat([blocked_attention(part, q, k, v, scaling) for part, q, k, v in own], dim=1)
    groups = query.shape[1] // key.shape[1]
    if row.prefix_length and query.device.type == "cpu" and (query.dtype == torch.float32 or not _grad(query, key)):
        return shared_prefix_attention(row, query, _repeat(key, groups), _repeat(value, groups), scaling)
    q, k, v = query[0].transpose(0, 1), key[0].transpose(0, 1), value[0].transpose(0, 1)  # [T, H, D]
    prefix = row.prefix_length
    outputs = []
    for block in row.blocks:
        n, width = block.index.shape
        bq, bk, bv = (gather_block(x, block) for x in (q, k, v))
        if prefix:
            bk, bv = (_with_prefix(x[:prefix], b) for x, b in ((k, bk), (v, bv)))
        mask = _block_mask(row, width, block.lengths)
        attended = _attend(bq, _repeat(bk, groups), _repeat(bv, groups), mask, scaling)  # [n, H, L, D]
        outputs.append(attended.transpose(1, 2).reshape(n * width, *q.shape[1:]))
    result = torch.cat(outputs).index_select(0, row.unblock)  # [T - prefix, H, D]
    if prefix:
        head_key, head_value = _repeat(key[:, :, :prefix], groups), _repeat(value[:, :, :prefix], groups)
        head = _attend(query[:, :, :prefix], head_key, head_value, None, scaling)
        result = torch.cat([head[0].transpose(0, 1), result])
    return result[None]


def _grad(*tensors: torch.Tensor) -> bool:
    return torch.is_grad_enabled() and any(x.requires_grad for x in tensors)


def _attend(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None, scaling: float
) -> torch.Tensor:
    """Attention [n, H, L, D] with a boolean mask; causal if the mask is None.

    bf16 on a CPU uses explicit matrix products: for 16 texts of 64 tokens and 9 heads, SDPA's backward takes 44 ms,
    this 9.
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
    """FlexAttention with the row's mask as a BlockMask; [1, H, T, D] in, [1, T, H, D] out.

    The heads of a token stay together in memory, as the projections give and take them: nothing is transposed.
    """
    block_mask = row.__dict__.get("_flex_mask")
    if block_mask is None:  # built once per row, used by every layer
        block_mask = row.__dict__["_flex_mask"] = flex_mask(row)
    pad = _flex_size(row) - row.tokens
    padded = (functional.pad(x.transpose(1, 2), (0, 0, 0, 0, 0, pad)).transpose(1, 2) for x in (query, key, value))
    grouped = query.shape[1] != key.shape[1]
    options = flex_options(_shared_memory(query.device)) if query.is_cuda else None
    attended = flex(*padded, block_mask=block_mask, scale=scaling, enable_gqa=grouped, kernel_options=options)
    return attended[:, :, : row.tokens].transpose(1, 2)


def flex_mask(row: Row) -> Any:
    """The row's structure as a FlexAttention BlockMask; padding tokens attend only to themselves."""
    from torch.nn.attention.flex_attention import create_block_mask

    size = _flex_size(row)
    segments = functional.pad(row.segments, (0, size - row.tokens), value=-1)
    rule, device = flex_rule(segments, row.causal), str(row.segments.device)
    return create_block_mask(rule, None, None, size, size, device=device, BLOCK_SIZE=_FLEX_BLOCK)


def flex_rule(segments: torch.Tensor, causal: bool) -> Any:
    """Which key a query sees, in FlexAttention's form; segments: int64 [whole blocks], -1 for padding."""

    def seen(batch: Any, head: Any, q: Any, k: Any) -> Any:
        same = (segments[q] == segments[k]) | ((segments[q] & ~IN_GROUP) == segments[k])  # itself, or its prefix
        ordered = same & (q >= k) if causal else same
        return torch.where(segments[q] < 0, q == k, ordered)

    return seen


def _flex_size(row: Row) -> int:
    """Tokens of the padded row: whole blocks, at least two, since a graph for one block is compiled apart."""
    return max(2, -(-row.tokens // _FLEX_BLOCK)) * _FLEX_BLOCK


def flex_options(shared_memory: int) -> dict[str, int] | None:
    """Options of FlexAttention's kernels on a card with so many bytes of shared memory a block; None: torch's own.

    With heads of 128 in bf16 torch's forward kernel takes 97 KiB of the 99 that 24 GB cards have (RTX 4090, L4, L40S,
    A10G, RTX 3090). Two stages in place of three leave room. tests/model/test_attention.py compiles them.
    """
    return {"fwd_num_stages": 2} if shared_memory < _FLEX_DEFAULT_NEEDS else None


@cache
def _shared_memory(device: torch.device) -> int:
    """Bytes that a block may have on this card."""
    card: Any = torch.cuda.get_device_properties(device)  # torch's stub lacks the attribute
    return int(card.shared_memory_per_block_optin)


def compiled_flex() -> Any:
    """flex_attention, compiled at first use (CUDA only: eager FlexAttention materializes all scores).

    tests/training/test_graphs.py holds the number of graphs of a training process.
    """
    from torch.nn.attention.flex_attention import flex_attention

    return compile_function(flex_attention)
