"""Training: FlexAttention against the dense mask, MFU, a row's time by kernel, a GradCache step, packed and padded."""

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from benchmarks.gpu_sections.bench import Bench, projections
from components.model.attention import PACKED
from components.model.backbone import pooled
from components.model.packing import Row, join_rows, pack, plan_rows
from components.training.rows import PlacedRow, Tokens, pack_rows
from components.training.step import Step
from components.training.world import World

DENSE = "dense_reference"
_GEMM = ("gemm", "nvjet", "cutlass", "wgmma", "xmma")  # parts of the names of matrix products' kernels


def equality(bench: Bench) -> None:
    """The packed attention of this device against SDPA under the dense mask: vectors and LoRA gradients, six rows."""
    from transformers import AttentionInterface

    AttentionInterface.register(DENSE, _dense_attention)
    model = bench.adapted(2, gradient_checkpointing=True)
    long = bench.pick(4000, 600)
    rows = {
        "documents": bench.row(700, 20, 90),
        "prefix": bench.row(900, 20, 60, 400),
        "one_block": bench.row(120, 8, 20),
        "long": bench.row(long, 100, 200),
        "long_prefix": bench.row(long, 20, 60, bench.pick(700, 200)),
        "two_prefixes": join_rows([bench.row(500, 20, 60, 200), bench.row(400, 20, 60, 100)]),
    }
    for name, row in rows.items():
        (vectors, gradients), (expected, right) = (_gradients(bench, model, row, kind) for kind in (PACKED, DENSE))
        apart = max(float((gradients[key] - right[key]).norm() / (right[key].norm() + 1e-12)) for key in right)
        cosine = float((vectors * expected).sum(1).min())
        bench.note(**{f"equality_cosine_{name}": cosine, f"equality_gradient_difference_{name}": apart})
        model.get_base_model().config._attn_implementation = PACKED
        with torch.no_grad():  # what GradCache's first pass and an encoder add to the graphs
            bench.forward(model, row)
        with torch.inference_mode():
            bench.forward(model, row)
    from torch._dynamo.eval_frame import _debug_get_cache_entry_list  # torch's own: the figures above stay without it
    from torch.nn.attention import flex_attention as flex

    bench.note(flex_graphs=len(_debug_get_cache_entry_list(flex.flex_attention.__code__)))


def _dense_attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: Any,
    scaling: float,
    row: Row,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    attended = functional.scaled_dot_product_attention(
        query, key, value, attn_mask=row.dense_mask(), scale=scaling, enable_gqa=True
    )
    return attended.transpose(1, 2), None


def _gradients(bench: Bench, model: Any, row: Row, attention: str) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """(vectors, gradients by name) of a loss that weighs every value otherwise."""
    model.get_base_model().config._attn_implementation = attention
    model.zero_grad()
    vectors = bench.forward(model, row)
    weights = torch.linspace(-1, 1, vectors.numel(), device=bench.device).view_as(vectors)
    (vectors * weights).sum().backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    return vectors.detach(), gradients


def mfu(bench: Bench) -> None:
    """Forward and backward of one row: three lengths, documents and few-shot queries, without and with checkpointing.

    FLOPs are 4 x parameters of the projections x tokens; attention and recomputation are not counted.
    """
    texts = bench.pick((100, 200), (20, 60))
    for checkpointing in (False, True):
        model = bench.student(checkpointing)
        for tokens in bench.pick((2048, 4096, 8192), (256,)):
            _mfu_of(bench, model, bench.row(tokens, *texts), f"docs_{tokens}_ckpt{int(checkpointing)}")
            shots = bench.row(tokens, 20, 60, min(tokens // 4, 1000))
            _mfu_of(bench, model, shots, f"shots_{tokens}_ckpt{int(checkpointing)}")
    row = bench.row(bench.pick(4096, 256), *texts)
    _kernels(bench, partial(_row_step, bench, bench.student(), row))


def _mfu_of(bench: Bench, model: Any, row: Row, label: str) -> None:
    bench.reset_peak()
    try:
        seconds = bench.seconds(partial(_row_step, bench, model, row))
    except torch.OutOfMemoryError:
        model.zero_grad()
        bench.free()
        bench.note(**{f"out_of_memory_{label}": True})
        return
    share = 4 * projections(model) * row.tokens / seconds / bench.rate
    figures = {"mfu": share, "tokens_per_second": row.tokens / seconds, "peak_gib": bench.peak()}
    bench.note(**{f"{key}_{label}": value for key, value in figures.items()})


def _row_step(bench: Bench, model: Any, row: Row) -> None:
    vectors = bench.forward(model, row)
    vectors.backward(torch.ones_like(vectors))
    model.zero_grad()


def _kernels(bench: Bench, work: Callable[[], None]) -> None:
    """Milliseconds by kernel of one row, into kernels.txt; on a CPU by operator."""
    from torch.profiler import ProfilerActivity, profile

    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if bench.cuda else [])]
    work()
    begin = bench.now()
    with profile(activities=activities) as seen:
        work()
        bench.now()
    wall = (bench.now() - begin) * 1000
    taken = {name: 1000 * seconds for name, seconds in bench.kernel_seconds(seen).items()}
    lines = [f"{ms:9.2f} ms  {name[:100]}" for name, ms in sorted(taken.items(), key=lambda item: -item[1])[:60]]
    (bench.out / "kernels.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    products = sum(ms for name, ms in taken.items() if any(part in name.lower() for part in _GEMM))
    bench.note(kernel_ms=sum(taken.values()), matrix_product_ms=products, profiled_wall_ms=wall)


def gradcache(bench: Bench) -> None:
    """The project's own step at the recipe's sizes: 128 queries behind 1,536 tokens, 8 passages of 512 each."""
    model = bench.student()
    weights = projections(model)
    step = Step(model, "last", 1, True, World())
    few = _batch(bench, bench.pick(16, 4))
    rows, number = _batch(bench, bench.pick(128, 4))
    tokens = sum(placed.tokens for placed in rows)
    step.run(0, *few, _loss)  # compiles the graphs that mfu's rows did not need
    bench.reset_peak()
    seconds = bench.seconds(lambda: step.run(0, rows, number, _loss), times=1, warm=0)
    model.zero_grad()
    bench.note(
        gradcache_peak_gib=bench.peak(),
        gradcache_seconds=seconds,
        gradcache_tokens_per_second=tokens / seconds,
        gradcache_mfu=4 * weights * tokens / seconds / bench.rate,
        training_flops_per_second=6 * weights * tokens / seconds,  # both passes: what `foundry plan` counts
    )
    if bench.cuda:
        bench.note(gradcache_idle_share=_idle_share(bench, step, *few))
        bench.note(gradcache_waits=_waits(step, *few))


def _batch(bench: Bench, queries: int) -> tuple[list[PlacedRow], int]:
    """(rows of `queries` queries in sets of 16 behind a prefix and of 8 passages each, vectors of queries), packed as
    training packs them for a card, into pinned memory."""
    prefix, share, row_tokens = bench.pick((1536, 16, 4096), (40, 4, 256))
    shortest, longest = bench.pick((300, 512), (20, 60))
    number = -(-queries // share) * share
    tokens = Tokens(
        queries=[_ids(bench, 20, 60) for _ in range(number)],
        documents=[_ids(bench, shortest, longest) for _ in range(8 * queries)],
        prefixes=[bench.ids(prefix) for _ in range(number // share)],
        starts=list(range(0, number, share)),
        document_prefix=[],
        cut=0,
        shots_left_out=0,
    )
    config = bench.recipe(shots={"max": 5, "share": share})
    rows = pack_rows(tokens, row_tokens, config.encoder, World(), join=True)
    return [placed.pin() for placed in rows] if bench.cuda else rows, number


def _ids(bench: Bench, shortest: int, longest: int) -> np.ndarray:
    return np.array(bench.ids(bench.draw.randint(shortest, longest)), dtype=np.int32)


def _loss(queries: torch.Tensor, documents: torch.Tensor) -> torch.Tensor:
    return -(queries @ documents.T).mean()


def _idle_share(bench: Bench, step: Step, rows: list[PlacedRow], number: int) -> float:
    """Share of a small step's wall time in which no kernel runs; the kernels are compiled."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        begin = bench.now()
        step.run(0, rows, number, _loss)
        wall = bench.now() - begin
    step.model.zero_grad()
    return 1 - sum(bench.kernel_seconds(seen).values()) / wall


def _waits(step: Step, rows: list[PlacedRow], number: int) -> int:
    """How often the host waits for the card in a step, as torch counts it."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            step.run(0, rows, number, _loss)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    step.model.zero_grad()
    waits = [warning for warning in seen if "synchroniz" in str(warning.message)]
    for warning in waits:
        print(f"   a wait: {warning.filename}:{warning.lineno}", flush=True)
    return len(waits)


def padded(bench: Bench) -> None:
    """Few-shot queries packed behind one prefix, against each query behind its own copy, padded."""
    model = bench.student()
    queries, prefix_length, budget = bench.pick((96, 400, 4096), (6, 40, 256))
    prefix = bench.ids(prefix_length)
    sequences = [bench.ids(bench.draw.randint(20, 60)) for _ in range(queries)]
    groups = plan_rows([len(ids) for ids in sequences], prefix_length, budget)
    rows = [pack(prefix, [sequences[i] for i in group]) for group in groups]
    useful = sum(prefix_length + len(ids) for ids in sequences)  # what a trainer without sharing has to process
    sides = {
        "packed": lambda: _rows_step(bench, model, rows),
        "padded": lambda: _padded_step(bench, model, [[*prefix, *ids] for ids in sequences], budget),
    }
    for name, work in sides.items():
        model.get_base_model().config._attn_implementation = PACKED if name == "packed" else "sdpa"
        bench.note(**{f"{name}_useful_tokens_per_second": useful / bench.seconds(work, times=2)})
    model.get_base_model().config._attn_implementation = PACKED
    packed, other = (bench.figures[f"{name}_useful_tokens_per_second"] for name in sides)
    bench.note(packed_vs_padded=packed / other)


def _rows_step(bench: Bench, model: Any, rows: list[Row]) -> None:
    for row in rows:
        _row_step(bench, model, row)


def _padded_step(bench: Bench, model: Any, sequences: list[list[int]], budget: int) -> None:
    """Batches of at most `budget` tokens, padded on the right: SDPA's causal kernel needs no mask then."""
    ordered = sorted(sequences, key=len)
    size = max(1, budget // len(ordered[-1]))
    for start in range(0, len(ordered), size):
        batch = ordered[start : start + size]
        width = len(batch[-1])
        ids = torch.tensor([ids + [0] * (width - len(ids)) for ids in batch], device=bench.device)
        ends = torch.tensor([len(ids) - 1 for ids in batch], device=bench.device)
        with torch.autocast(bench.device.type, torch.bfloat16):
            hidden = model(input_ids=ids, use_cache=False).last_hidden_state
        read = hidden[torch.arange(len(batch), device=bench.device), ends].float()
        functional.normalize(read, dim=-1).sum().backward()
    model.zero_grad()


def encode(bench: Bench) -> None:
    """The encoder's forward, adapter merged: short texts, long texts, few-shot queries, three token budgets."""
    merged = bench.student().merge_and_unload().eval()
    weights = projections(merged)
    long = bench.pick((400, 512), (40, 60))
    for budget in bench.pick((8192, 16384, 32768), (256,)):
        kinds = {"short": (20, 60, 0), "long": (*long, 0), "shots": (20, 60, min(1000, budget // 4))}
        for name, (shortest, longest, prefix) in kinds.items():
            row = bench.row(budget, shortest, longest, prefix)
            bench.reset_peak()

            def one(row: Row = row) -> None:
                with torch.inference_mode():
                    pooled(merged, row.to(bench.device), "last").cpu()

            seconds = bench.seconds(one, times=2)
            label = f"{name}_{budget}"
            share = 2 * weights * row.tokens / seconds / bench.rate
            figures = {"mfu": share, "tokens_per_second": row.tokens / seconds, "peak_gib": bench.peak()}
            bench.note(**{f"encode_{key}_{label}": value for key, value in figures.items()})
    bench.drop_student()
