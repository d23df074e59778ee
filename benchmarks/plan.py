"""Does `components.plan` tell the truth? Its peak training memory and token count against a real step, on the CPU.

    python -m benchmarks.plan [--quick] [--json FILE]

Random Mistrals of four shapes: fp32 and bf16, gradient checkpointing, GradCache, LoRA's dropout. Measured: every
allocation torch's profiler sees in one `Step.run` (forward, loss, backward), the peak of their running sum, on top of
the bytes of weights, gradients and AdamW's moments counted tensor by tensor. Tokens: the plan's estimate for a run
against what that run's own batches hold. CUDA's allocator is not measured here: no GPU was at hand.
"""

import argparse
import gc
import json
import platform
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from components.config import parse_config
from components.model.backbone import load_tokenizer
from components.model.prompt import Prompt
from components.plan.memory import RowSize, training_memory
from components.plan.shapes import read_shape
from components.plan.tokens import counted_texts, training_tokens
from components.training.examples import load_training_data
from components.training.rows import PlacedRow
from components.training.train import add_adapter
from components.training.trainer import Trainer
from components.training.world import World
from tests.models import make_tiny_student
from tests.samples import small_parameters, write_training_tables

STEPS = 160
SHAPES: list[tuple[str, int, int, dict[str, Any]]] = [  # name, width, layers, parameters
    ("6 x 256, fp32", 256, 6, {}),
    ("4 x 512, bf16, checkpointing", 512, 4, {"train.precision": "bf16", "train.gradient_checkpointing": True}),
    ("8 x 384, fp32, GradCache", 384, 8, {"train.gradcache": True}),
    (
        "4 x 256, bf16, dropout",
        256,
        4,
        {"train.precision": "bf16", "train.lora": {"rank": 8, "alpha": 16, "dropout": 0.1}},
    ),
]


def main() -> None:
    """Measure, print, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{platform.machine()}, torch {torch.__version__}; peak of one training step, MiB")
    print(f"  {'shape':32} {'plan':>9} {'measured':>9} {'error':>7} {'tokens: plan':>13} {'run':>9} {'error':>7}")
    worst = {"memory_error": 0.0, "token_error": 0.0}
    for name, width, layers, changes in SHAPES:
        with tempfile.TemporaryDirectory() as folder:
            memory, tokens = measured(Path(folder), width, layers, changes, given.quick)
        errors = [abs(plan / real - 1) for plan, real in (memory, tokens)]
        shown = [f"{memory[0] / 2**20:9.1f} {memory[1] / 2**20:9.1f} {errors[0]:7.1%}"]
        print(f"  {name:32} {shown[0]} {tokens[0]:13.0f} {tokens[1]:9.0f} {errors[1]:7.1%}")
        worst = {key: max(old, new) for (key, old), new in zip(worst.items(), errors, strict=True)}
    if given.json:
        given.json.write_text(json.dumps(worst, indent=2) + "\n", encoding="utf-8")


def measured(
    folder: Path, width: int, layers: int, changes: dict[str, Any], quick: bool
) -> tuple[tuple[float, float], tuple[float, float]]:
    """((planned, measured) peak bytes, (planned, real) tokens of a run) for one shape."""
    write_training_tables(folder, pairs=60 if quick else 240)
    make_tiny_student(folder / "student", layers, width)
    size = {"steps": STEPS, "batch_queries": 8 if quick else 32, "negatives": 3, "row_tokens": 512, "shots": {"max": 2}}
    config = parse_config(small_parameters(**{f"train.{key}": value for key, value in size.items()}, **changes), "plan")
    tokenizer = load_tokenizer(folder / "student", config.prompt)
    model, prompt = add_adapter(folder / "student", tokenizer, config), Prompt(tokenizer, config.prompt)
    data = load_training_data(folder, folder / "cache")
    trainer = Trainer(model, prompt, data, config, folder, lambda metrics, step: None, World())
    rows = [trainer._prepare(step).rows for step in range(STEPS)]
    step = max(range(STEPS), key=lambda i: sum(placed.tokens for placed in rows[i]))
    real_peak = step_peak(trainer, step, rows[step])
    plan = training_memory(
        read_shape(folder / "student" / "config.json"),
        config,
        [RowSize(p.tokens, p.row.prefix_length, len(p.places)) for p in rows[step] if p.row is not None],
        config.train.precision,
        gpu=False,
    )
    tokens = sum(placed.tokens for batch in rows for placed in batch)
    return (plan.peak, real_peak), (
        training_tokens(config, counted_texts(folder, prompt, config.training_prompt)),
        tokens,
    )


def step_peak(trainer: Trainer, step: int, rows: list[PlacedRow]) -> float:
    """Bytes: all tensors the training holds, and the peak of what a step allocates on top."""
    trainer.model.train()
    trainer._run_step(step, lambda: trainer._prepare(step))  # AdamW makes its moments in its first step
    trainer.optimizer.zero_grad()
    parameters = list(trainer.model.parameters())
    held = sum(p.numel() * p.element_size() for p in parameters)
    held += sum(x.numel() * x.element_size() for s in trainer.optimizer.state.values() for x in s.values())
    batch = trainer.batches[step]
    gc.collect()  # or the trainer of the shape before may be freed while this one is measured
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        trainer.step.run(step, rows, len(batch.query_texts), trainer._loss(batch, {}))
    events = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    now = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        now += event.nbytes()
        peak = max(peak, now)
    return held + peak


if __name__ == "__main__":
    main()
