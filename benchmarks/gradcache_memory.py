"""Peak memory of a GradCache step against batch size: it must not grow; the direct step's does.

    python -m benchmarks.gradcache_memory [--quick] [--json FILE]

Each measurement is a process of its own (peak resident set minus the peak before the step). The model is a random
4-layer, 256-wide Mistral with LoRA; a query has 24 tokens, its document 64; rows of 1,024 tokens.
"""

import argparse
import json
import multiprocessing
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from transformers import MistralConfig, MistralModel

from components.model.attention import PACKED
from components.model.backbone import PROJECTIONS
from components.model.packing import pack, plan_rows
from components.training.meter import peak_memory
from components.training.rows import PlacedRow
from components.training.step import Step
from components.training.world import World

GIB = 2**30


def main() -> None:
    """Measure, print, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    small, large = (8, 32) if given.quick else (64, 512)
    asked = [(mode, queries) for mode in ("gradcache", "direct") for queries in (small, large)]
    # Forked one after the other: the packages are imported once, here, where nothing is computed.
    with multiprocessing.get_context("fork").Pool(1, maxtasksperchild=1) as pool:
        told = pool.starmap(step_peaks, asked, chunksize=1)
    figures: dict[str, float] = {}
    for (mode, queries), (total, step) in zip(asked, told, strict=True):
        figures[f"{mode}_{queries}_peak_gib"], figures[f"{mode}_{queries}_step_gib"] = total / GIB, step / GIB
    name = f"growth_{small}_to_{large}"
    figures[name] = figures[f"gradcache_{large}_peak_gib"] / figures[f"gradcache_{small}_peak_gib"]
    figures[f"{name}_step_only"] = figures[f"gradcache_{large}_step_gib"] / figures[f"gradcache_{small}_step_gib"]
    figures[f"{name}_direct"] = figures[f"direct_{large}_peak_gib"] / figures[f"direct_{small}_peak_gib"]
    for key, value in figures.items():
        print(f"  {key:36} {value:.4f}")
    if given.json:
        given.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def step_peaks(mode: str, queries: int) -> tuple[int, int]:
    """One step in this process: the peak bytes of the process, and those the step added."""
    torch.manual_seed(0)
    torch.set_num_threads(2)
    config = MistralConfig(
        vocab_size=8000,
        hidden_size=256,
        intermediate_size=896,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        sliding_window=None,
    )
    config._attn_implementation = PACKED
    model = get_peft_model(MistralModel(config), LoraConfig(r=8, lora_alpha=16, target_modules=list(PROJECTIONS)))
    rows = []
    for first, length in ((0, 24), (queries, 64)):
        texts = torch.randint(3, 8000, (queries, length)).tolist()
        for members in plan_rows([length] * queries, 0, 1024):
            rows.append(PlacedRow.of(pack([], [texts[i] for i in members]), [first + i for i in members]))
    step = Step(model, "last", 0, mode == "gradcache", World())
    labels = torch.arange(queries)
    device = torch.device("cpu")
    before = peak_memory(device)
    step.run(0, rows, queries, lambda q, d: torch.nn.functional.cross_entropy(q @ d.T / 0.02, labels))
    after = peak_memory(device)
    return after, after - before


if __name__ == "__main__":
    main()
