"""All that only a GPU can show, in one run of at most ten minutes.

    python -m benchmarks.gpu [--out DIR] [--only SECTION,...] [--tiny]

Needs torch, transformers, peft, sentence-transformers, pydantic and polars; docs/gpu/README.md says how to carry what a
machine lacks. Weights are random, at Mistral-7B's shape. Every section is guarded: one that fails prints its traceback
and the next one runs. DIR/gpu.json is written after every figure, so a run that is cut still tells. The end prints the
measured figures beside the asked ones. --tiny: small shapes on any machine, to test this script; no figure of a GPU.
"""

import argparse
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import torch

from benchmarks.gpu_sections import inference, training, whole_path
from benchmarks.gpu_sections.bench import Bench
from components.model.device import use_expandable_segments


def environment(bench: Bench) -> None:
    """Versions, the card, and the rate of a bf16 product of random numbers: zeros and ones are faster."""
    bench.note(card=torch.cuda.get_device_name() if bench.cuda else "cpu", cores=os.cpu_count())
    size = bench.pick(8192, 256)
    one, other = (torch.randn(size, size, device=bench.device, dtype=torch.bfloat16) for _ in range(2))
    seconds = bench.seconds(lambda: one @ other, times=10, warm=3)
    bench.note(matmul_tflops=2 * size**3 / seconds / 1e12)
    packages = "torch", "triton", "transformers", "peft", "sentence-transformers", "polars", "pydantic"
    bench.note(**{name: version(name) for name in packages if find_spec(name.replace("-", "_"))})


SECTIONS: tuple[Callable[[Bench], None], ...] = (
    environment,
    training.equality,
    training.mfu,
    training.gradcache,
    training.padded,
    training.encode,
    inference.rerank,
    inference.dense,
    inference.search,
    whole_path.resume,
    whole_path.qlora,
)
ASKED = (  # (figure, at least or at most, value)
    ("flex_graphs", "<=", 4),
    ("mfu_docs_4096_ckpt0", ">=", 0.60),
    ("gradcache_mfu", ">=", 0.45),
    ("gradcache_idle_share", "<=", 0.02),
    ("gradcache_waits", "<=", 1),
    ("packed_vs_padded", ">=", 6),
    ("encode_mfu_long_16384", ">=", 0.60),
    ("rerank_vs_sentence_transformers", ">=", 1.5),
    ("search_card_vs_cpu", ">=", 10),
    ("search_same_documents", ">=", 1),
    ("qlora_peak_gib", "<=", 24),
    ("resume_difference", "<=", 0),
    ("export_least_cosine", ">=", 0.999),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; returns the exit status: 1 when a section failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tiny", action="store_true", help="small shapes, on any machine")
    parser.add_argument("--only", help="these sections, separated by commas")
    parser.add_argument("--out", type=Path, default=Path())
    given = parser.parse_args(arguments)
    names = [section.__name__ for section in SECTIONS]
    wanted = [names[0], *given.only.split(",")] if given.only else names  # the first: rates are against it
    if unknown := sorted(set(wanted) - set(names)):
        parser.error(f"--only: no section {', '.join(unknown)}; there are {', '.join(names)}")
    if not torch.cuda.is_available() and not given.tiny:
        parser.error("torch sees no GPU; --tiny tests the script without one")
    given.out.mkdir(parents=True, exist_ok=True)
    use_expandable_segments()  # as the train stage
    bench = Bench(given.tiny, given.out, torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    bench.figures = earlier(given.out)
    failed = [section.__name__ for section in SECTIONS if section.__name__ in wanted and not _run(bench, section)]
    print("\n".join(compare(bench.figures)))
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return int(bool(failed))


def earlier(out: Path) -> dict[str, object]:
    """Figures of a run before this one into the same folder: a second run with --only adds to them."""
    file = out / "gpu.json"
    figures: dict[str, object] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return figures


def _run(bench: Bench, section: Callable[[Bench], None]) -> bool:
    """Whether the section came to its end."""
    name, begin = section.__name__, time.monotonic()
    print(f"== {name}", flush=True)
    bench.figures.pop(f"failed_{name}", None)
    try:
        section(bench)
    except Exception as problem:  # noqa: BLE001 - the next section may still tell something
        traceback.print_exc()
        bench.note(**{f"failed_{name}": f"{type(problem).__name__}: {problem}"[:300]})
    bench.free()
    bench.note(**{f"seconds_{name}": time.monotonic() - begin})
    return f"failed_{name}" not in bench.figures


def compare(figures: dict[str, object]) -> list[str]:
    """A line for each asked figure: measured beside asked."""
    lines = [f"{'figure':36} {'measured':>12}  asked"]
    for name, sign, value in ASKED:
        measured = figures.get(name)
        shown = f"{measured:.4g}" if isinstance(measured, int | float) else "not measured"
        lines.append(f"{name:36} {shown:>12}  {sign} {value:g}")
    return lines


if __name__ == "__main__":
    sys.exit(main())
