"""Packed LoRA training of Mistral-7B on one GPU: its MFU, and useful tokens a second against the padded path.

    python benchmarks/mistral_7b_gpu.py [--quick] [--json FILE] [--queries 96] [--prefix 400] [--repeats 5]

Needs torch, transformers and peft only; weights are random, at the true shape, in bf16. `--quick` is a tiny shape in
fp32 on the CPU, to test the script itself. One step is forward + backward of LoRA (rank 32, all seven projections)
under gradient checkpointing. Model FLOPs = 4 x non-embedding parameters x tokens (the base is frozen), plus
attention's 3 x 4 x layers x hidden x seen keys; recomputation is not counted. MFU is against the bf16 matmul rate
measured in the same run. The padded side repeats the prefix before each query, cut into batches of the same tokens.
"""

import argparse
import json
import random
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from peft import LoraConfig, get_peft_model
from torch.nn import functional
from transformers import MistralConfig, MistralModel

from components.model.attention import PACKED
from components.model.packing import Row, pack, plan_rows
from components.training.lora_linear import fuse_lora

PROJECTIONS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
FULL: dict[str, Any] = {
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
}
TINY: dict[str, Any] = {"hidden_size": 64, "intermediate_size": 224, "num_hidden_layers": 2, "num_attention_heads": 4}


def main() -> None:
    """Measure, print, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--queries", type=int, default=96)
    parser.add_argument("--prefix", type=int, default=400)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    if not given.quick and not torch.cuda.is_available():
        parser.error("no CUDA device: this measures a GPU; --quick tests the script on the CPU")
    queries, prefix_length = (6, 40) if given.quick else (given.queries, given.prefix)
    device = torch.device("cpu" if given.quick else "cuda")
    dtype = torch.float32 if given.quick else torch.bfloat16
    model = student(TINY if given.quick else FULL, device, dtype)
    draw = random.Random(0)
    prefix = [draw.randrange(3, 32000) for _ in range(prefix_length)]
    texts = [[draw.randrange(3, 32000) for _ in range(draw.randint(20, 60))] for _ in range(queries)]
    budget = 256 if given.quick else 8192
    groups = plan_rows([len(text) for text in texts], prefix_length, budget)
    rows = [pack(prefix, [texts[i] for i in group]).to(device) for group in groups]
    sides: dict[str, Callable[[], None]] = {
        "packed": lambda: packed_step(model, rows),
        "padded": lambda: padded_step(model, prefix, texts, budget, device),
    }
    seconds = alternate(sides, 1 if given.quick else given.repeats, device)
    useful = sum(prefix_length + len(text) for text in texts)  # what a trainer without sharing has to process
    rate = matmul_rate(device, dtype, 256 if given.quick else 8192)
    flops = sum(model_flops(model, row) for row in rows)
    figures = {
        "mfu": flops / seconds["packed"] / rate,
        "vs_padded": seconds["padded"] / seconds["packed"],
        "packed_seconds": seconds["packed"],
        "padded_seconds": seconds["padded"],
        "packed_useful_tokens_per_second": useful / seconds["packed"],
        "padded_useful_tokens_per_second": useful / seconds["padded"],
        "matmul_tflops": rate / 1e12,
        "peak_gib": torch.cuda.max_memory_allocated() / 2**30 if device.type == "cuda" else 0.0,
    }
    where = torch.cuda.get_device_name() if device.type == "cuda" else "CPU, tiny shape: no figure of a GPU"
    print(f"{where}; {queries} queries, prefix {prefix_length}, {dtype}, torch {torch.__version__}")
    for name, value in figures.items():
        print(f"  {name:32} {value:.4g}")
    if given.json:
        given.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def student(shape: dict[str, Any], device: torch.device, dtype: torch.dtype) -> Any:
    """A random Mistral with a LoRA adapter, the adapter in fp32, gradient checkpointing on."""
    torch.manual_seed(0)
    heads = shape["num_attention_heads"]
    config = MistralConfig(vocab_size=32003, num_key_value_heads=heads // 4, sliding_window=None, **shape)
    config._attn_implementation = PACKED
    with torch.device(device):
        backbone: Any = MistralModel(config)
    backbone = backbone.to(dtype)
    model: Any = get_peft_model(backbone, LoraConfig(r=32, lora_alpha=64, target_modules=PROJECTIONS))
    fuse_lora(model)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    model.enable_input_require_grads()
    model.gradient_checkpointing_enable({"use_reentrant": False})
    return model.train()


def packed_step(model: Any, rows: list[Row]) -> None:
    """Forward and backward of every row."""
    model.get_base_model().config._attn_implementation = PACKED
    for row in rows:
        with torch.autocast(row.ids.device.type, torch.bfloat16, enabled=row.ids.is_cuda):
            hidden = model(input_ids=row.ids, position_ids=row.positions, row=row, use_cache=False)
        vectors = functional.normalize(hidden.last_hidden_state[0, row.last].float(), dim=-1)
        vectors.sum().backward()
    model.zero_grad()


def padded_step(model: Any, prefix: list[int], texts: list[list[int]], budget: int, device: torch.device) -> None:
    """The same texts, each behind its own prefix, padded on the right: SDPA's causal kernel needs no mask then."""
    model.get_base_model().config._attn_implementation = "sdpa"
    ordered = sorted(([*prefix, *text] for text in texts), key=len)
    size = max(1, budget // len(ordered[-1]))
    for start in range(0, len(ordered), size):
        batch = ordered[start : start + size]
        width = len(batch[-1])
        ids = torch.tensor([ids + [0] * (width - len(ids)) for ids in batch], device=device)
        ends = torch.tensor([len(ids) - 1 for ids in batch], device=device)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            hidden = model(input_ids=ids, use_cache=False).last_hidden_state
        vectors = functional.normalize(hidden[torch.arange(len(batch), device=device), ends].float(), dim=-1)
        vectors.sum().backward()
    model.zero_grad()


def alternate(sides: dict[str, Callable[[], None]], repeats: int, device: torch.device) -> dict[str, float]:
    """Median seconds of each side, taken in turns after one round that only warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for round_ in range(repeats + 1):
        for name, step in sides.items():
            begin = now(device)
            step()
            if round_:
                seconds[name].append(now(device) - begin)
    return {name: statistics.median(values) for name, values in seconds.items()}


def model_flops(model: Any, row: Row) -> float:
    """FLOPs a row needs, without recomputation (forward, and backward to the activations only)."""
    config = model.get_base_model().config
    frozen = sum(p.numel() for n, p in model.named_parameters() if "embed_tokens" not in n and "lora_" not in n)
    prefix = row.prefix_length
    seen = prefix**2 / 2 + sum(length * (prefix + length / 2) for length in row.lengths)
    attention = 3 * 4 * config.num_hidden_layers * config.hidden_size * seen
    return 4.0 * frozen * row.tokens + attention


def matmul_rate(device: torch.device, dtype: torch.dtype, size: int) -> float:
    """FLOP/s of a square matrix product, the best of three runs of ten."""
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    best = float("inf")
    for _ in range(4):
        begin = now(device)
        for _ in range(10):
            a @ b
        best = min(best, now(device) - begin)
    return 10 * 2 * size**3 / best


def now(device: torch.device) -> float:
    """Seconds, after the device has finished what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


if __name__ == "__main__":
    main()
