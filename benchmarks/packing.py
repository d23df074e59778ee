"""Prefix-shared packing against the padded batch a plain trainer runs: same weights, same texts, same loss.

    python -m benchmarks.packing [--quick] [--json FILE] [--threads N]

A symmetric few-shot batch (queries of 20-60 tokens behind a 400-token prefix) through a random 6-layer, 512-wide
Mistral in fp32 on the CPU, forward and backward. The padded side uses SDPA with padding on the right (no mask is
needed for the real tokens' vectors, so it gets torch's causal kernel: its best setting). Sides alternate in one
process. Besides it counts how full the query rows of a batch of recipes/mistral-7b.yaml are, with one few-shot prefix a
row and with several, as on a card.
"""

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional
from transformers import MistralConfig, MistralModel

from components.base.machine import keep_freed_memory
from components.config import parse_config, read_parameters
from components.model.attention import PACKED
from components.model.backbone import pooled
from components.model.last_layer import narrow_last_layer
from components.model.packing import pack
from components.training.rows import Tokens, pack_rows
from components.training.world import World

Forward = Callable[[Any], torch.Tensor]


def main() -> None:
    """Measure, print, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    keep_freed_memory()
    queries, prefix_length, layers, repeats = (8, 100, 2, 1) if given.quick else (32, 400, 6, 5)
    draw = random.Random(0)
    prefix = [draw.randrange(3, 32000) for _ in range(prefix_length)]
    texts = [[draw.randrange(3, 32000) for _ in range(draw.randint(20, 60))] for _ in range(queries)]
    model = student(layers)
    target = torch.randn(queries, 512, generator=torch.Generator().manual_seed(1))
    row, ids, ends = pack(prefix, texts), *padded_batch(prefix, texts)
    sides: dict[str, Forward] = {
        "padded": lambda m: functional.normalize(
            as_attention(m, "sdpa")(input_ids=ids, use_cache=False).last_hidden_state[range(queries), ends], dim=-1
        ),
        "packed": lambda m: pooled(as_attention(m, PACKED), row, "last"),
    }
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    vectors, gradients = {}, {}
    for _ in range(repeats):
        for name, forward in sides.items():
            took, vectors[name], gradients[name] = forward_backward(model, forward, target)
            seconds[name].append(took)
    ratios = [a / b for a, b in zip(seconds["padded"], seconds["packed"], strict=True)]
    figures = {
        "speedup": statistics.median(ratios),
        "speedup_min": min(ratios),
        "speedup_max": max(ratios),
        "padded_seconds": statistics.median(seconds["padded"]),
        "packed_seconds": statistics.median(seconds["packed"]),
        "padded_tokens": ids.numel(),
        "packed_tokens": row.tokens,
        "max_embedding_diff": float((vectors["padded"] - vectors["packed"]).abs().max()),
        "gradient_relative_diff": float(
            (gradients["padded"] - gradients["packed"]).norm() / gradients["padded"].norm()
        ),
    }
    figures |= query_rows(draw)
    print(
        f"{queries} queries, prefix {prefix_length}, {layers} layers x 512, fp32, "
        f"{given.threads} threads, {repeats} rounds"
    )
    for name, value in figures.items():
        print(f"  {name:24} {value:.6g}")
    if given.json:
        given.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def query_rows(draw: random.Random) -> dict[str, float]:
    """Number and fill of the query rows of one batch of the 7B recipe: one prefix a row, and several.

    Queries have 10 to 40 tokens; shots, 0 to 5 of them, 40 to 256 on each side, as far as the prefix has room.
    """
    root = Path(__file__).resolve().parents[1]
    config = parse_config(read_parameters(root / "recipes" / "mistral-7b.yaml"), "mistral-7b")
    train = config.train

    def ids(least: int, most: int) -> np.ndarray:
        return np.full(draw.randint(least, most), 5, dtype=np.int32)

    prefixes = []
    for _ in range(train.batch_queries // train.shots.share):
        lengths = [22, *(draw.randint(80, 512) for _ in range(draw.randint(0, train.shots.max)))]
        while sum(lengths) > config.prompt.prefix_tokens:
            lengths.pop()
        prefixes.append([5] * sum(lengths))
    queries, starts = (
        [ids(10, 40) for _ in range(train.batch_queries)],
        range(0, train.batch_queries, train.shots.share),
    )
    tokens = Tokens(queries, [ids(100, 200)], prefixes, [*starts], [], cut=0, shots_left_out=0)
    figures = {}
    for name, join in (("one_prefix", False), ("several", True)):
        rows = pack_rows(tokens, train.row_tokens, config.encoder, World(), join)
        sizes = [placed.tokens for placed in rows if min(placed.places) < train.batch_queries]
        figures[f"query_rows_{name}"] = float(len(sizes))
        figures[f"query_rows_{name}_fill"] = statistics.mean(sizes) / train.row_tokens
    return figures


def student(layers: int) -> Any:
    """A random Mistral, all of it trainable, so that gradients of every weight are compared."""
    torch.manual_seed(0)
    config = MistralConfig(
        vocab_size=32000,
        hidden_size=512,
        intermediate_size=1792,
        num_hidden_layers=layers,
        num_attention_heads=8,
        num_key_value_heads=2,
        sliding_window=None,
    )
    model = MistralModel(config)
    model.embed_tokens.requires_grad_(False)
    narrow_last_layer(model)
    return model


def as_attention(model: Any, name: str) -> Any:
    """The same model with another attention implementation."""
    model.config._attn_implementation = name
    return model


def padded_batch(prefix: list[int], texts: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """ids int64 [N, L], padded on the right, and the index of each sequence's last token [N]."""
    whole = [prefix + text for text in texts]
    width = max(map(len, whole))
    ids = torch.tensor([ids + [0] * (width - len(ids)) for ids in whole])
    return ids, torch.tensor([len(ids) - 1 for ids in whole])


def forward_backward(model: Any, forward: Forward, target: torch.Tensor) -> tuple[float, torch.Tensor, torch.Tensor]:
    """(seconds, vectors, all gradients in one vector) of one pass."""
    model.zero_grad()
    begin = time.perf_counter()
    vectors = forward(model)
    (vectors * target).sum().backward()
    took = time.perf_counter() - begin
    grads = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
    return took, vectors.detach(), grads


if __name__ == "__main__":
    main()
