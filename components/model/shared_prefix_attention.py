"""CPU attention over a packed row: sequences attend to their shared prefix and to themselves; the prefix is not copied.

One kernel call attends from all sequences to the prefix, one per block of sequences from each sequence to itself. The
two outputs are combined by the logs of their softmax denominators, L = log(e^L1 + e^L2). The backward pass of flash
attention (Dao et al. 2022, arXiv 2205.14135, algorithm 4) reads only the output and L of the forward pass: given the
combined ones, each part's kernel returns its exact gradients.
"""

from typing import Any

import torch

from components.model.packing import Block, Row


def shared_prefix_attention(
    row: Row, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float
) -> torch.Tensor:
    """Causal attention over a row with a prefix; [1, H, T, D] each (keys repeated to H heads) in, [1, T, H, D] out."""
    return _SharedPrefix.apply(query, key, value, row, scaling)


def gather_block(x: torch.Tensor, block: Block) -> torch.Tensor:
    """[T, H, D] -> [n, H, L, D]: the block's sequences, padded at their ends."""
    return x.index_select(0, block.index.reshape(-1)).view(*block.index.shape, *x.shape[1:]).transpose(1, 2)


class _SharedPrefix(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Any, key: Any, value: Any, row: Row, scaling: float) -> torch.Tensor:
        ctx.row, ctx.scaling = row, scaling
        p = row.prefix_length
        # 1. Each sequence to itself, causally, a block at a time; then back into the row's order of tokens.
        q, k, v = (_by_token(x) for x in (query, key, value))
        parts = [_attend(gather_block(q, b), gather_block(k, b), gather_block(v, b), True, scaling) for b in row.blocks]
        own, own_total = (torch.cat([_flat(part[i]) for part in parts]).index_select(0, row.unblock) for i in (0, 1))
        # 2. All sequences' tokens to the whole prefix.
        seen, seen_total = _attend(query[:, :, p:], key[:, :, :p], value[:, :, :p], False, scaling)
        # 3. Combine: the prefix's share of the softmax is e^L1 / (e^L1 + e^L2) = sigmoid(L1 - L2).
        share = torch.sigmoid(_by_token(seen_total) - own_total)[..., None]
        joined = torch.lerp(own.float(), _by_token(seen).float(), share).to(value.dtype)
        # 4. The prefix to itself, causally.
        head, head_total = _attend(query[:, :, :p], key[:, :, :p], value[:, :, :p], True, scaling)
        # 5. Prefix first, then the sequences: the row's order.
        result = torch.cat([_by_token(head), joined])  # [T, H, D]
        total = torch.cat([_by_token(head_total), torch.logaddexp(_by_token(seen_total), own_total)])  # [T, H]
        ctx.save_for_backward(query, key, value, result, total)
        return result[None]

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Any:  # [1, T, H, D]
        query, key, value, result, total = ctx.saved_tensors
        row, scaling, p = ctx.row, ctx.scaling, ctx.row.prefix_length
        # 1. Sequences to themselves, a block at a time: gradients of the sequences' queries, keys and values.
        by_token = (grad[0], _by_token(query), _by_token(key), _by_token(value), result, total)
        own = [_compute_block_gradients(block, scaling, *by_token) for block in row.blocks]
        dq, dk, dv = (torch.cat([part[i] for part in own]).index_select(0, row.unblock) for i in range(3))
        grad, result, total = (_by_head(x) for x in (grad[0], result, total))
        # 2. Sequences to the prefix: of the sequences' queries and of the prefix's keys and values.
        head_key, head_value = key[:, :, :p], value[:, :, :p]
        seen = _compute_gradients(
            grad[:, :, p:], query[:, :, p:], head_key, head_value, result[:, :, p:], total[:, :, p:], False, scaling
        )
        # 3. The prefix to itself.
        head = _compute_gradients(
            grad[:, :, :p], query[:, :, :p], head_key, head_value, result[:, :, :p], total[:, :, :p], True, scaling
        )
        # 4. Sum what reaches the same tensor: a sequence's query (1 and 2), the prefix's keys and values (2 and 3).
        return (
            torch.cat([head[0], _by_head(dq) + seen[0]], dim=2),
            torch.cat([head[1] + seen[1], _by_head(dk)], dim=2),
            torch.cat([head[2] + seen[2], _by_head(dv)], dim=2),
            None,
            None,
        )


def _attend(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, causal: bool, scaling: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """SDPA [n, H, L, D] and the log of each query's softmax denominator [n, H, L]."""
    attend = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    attended, total = attend(query, key, value, 0.0, causal, attn_mask=None, scale=scaling)
    return attended, total


def _compute_gradients(
    grad: torch.Tensor,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    result: torch.Tensor,
    total: torch.Tensor,
    causal: bool,
    scaling: float,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Gradients of query, key and value, from the combined result [n, H, L, D] and total [n, H, L]."""
    backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
    return backward(grad, query, key, value, result, total, 0.0, causal, attn_mask=None, scale=scaling)


def _compute_block_gradients(
    block: Block, scaling: float, grad: torch.Tensor, *rest: torch.Tensor
) -> list[torch.Tensor]:
    """Gradients [n * L, H, D] of a block's queries, keys and values, from tensors by token [T, H, ...]."""
    real = torch.arange(block.index.shape[1])[None, :] < block.lengths[:, None]
    query, key, value, result, total = (gather_block(x, block) for x in rest)
    # A padding cell repeats a token and must not count twice: exp(score - total) is 0 there.
    total = total.masked_fill(~real[:, None], torch.finfo(total.dtype).max)
    grad = gather_block(grad, block)
    return [_flat(x) for x in _compute_gradients(grad, query, key, value, result, total, True, scaling)]


def _by_token(x: torch.Tensor) -> torch.Tensor:
    """[1, H, T, ...] -> [T, H, ...]."""
    return x[0].transpose(0, 1)


def _by_head(x: torch.Tensor) -> torch.Tensor:
    """[T, H, ...] -> [1, H, T, ...]."""
    return x.transpose(0, 1)[None]


def _flat(x: torch.Tensor) -> torch.Tensor:
    """[n, H, L, ...] -> [n * L, H, ...]."""
    return x.transpose(1, 2).flatten(0, 1)
