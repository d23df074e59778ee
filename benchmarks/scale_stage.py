"""What scale_mine and scale_score share: a stage in a process of its own, at two sizes, and the peak of its memory."""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import polars as pl

DEPTH = 50  # candidates of a query
Figures = dict[str, float]


def peak_memory() -> float:
    """GiB: the most memory that this program had, without what its parent had before it started (as ru_maxrss has)."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.split("VmHWM:")[1].split()[0]) / 2**20


def run_apart(part: str, outputs: Path) -> Figures:
    """`run_stage` of benchmarks/scale_PART.py in a child process."""
    command = [sys.executable, "-m", f"benchmarks.scale_{part}", "--stage", str(outputs)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"error: {part} failed: {done.stderr[-2000:]}")
    found: Figures = json.loads(done.stdout.splitlines()[-1])
    return found


def run_two_sizes(
    part: str, about: str, run_stage: Callable[[Path], Figures], measure: Callable[[Path, int, int], Figures]
) -> None:
    """The command line: both sizes, printed and as JSON.

    Args:
        run_stage: of a folder of tables, in this process.
        measure: of (folder, documents, queries), in a child process: peak_gib, pairs, seconds and perhaps cpu_seconds.
    """
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--folder", type=Path, help="where the tables go (several GiB); a temporary folder when empty")
    parser.add_argument("--pairs", type=int, nargs=2, default=[5_000_000, 20_000_000])
    parser.add_argument("--documents", type=int, default=1_000_000)
    parser.add_argument("--stage", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.stage:
        print(json.dumps(run_stage(given.stage)))
        return
    cut = 10 if given.quick else 1
    print(f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores, polars {pl.__version__}")
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        sizes = [pairs // DEPTH // cut for pairs in given.pairs]
        small, large = (measure(Path(name), given.documents // cut, queries) for queries in sizes)
    figures = {
        f"{part}_peak_gib": large["peak_gib"],
        f"{part}_growth": large["peak_gib"] / small["peak_gib"] - 1,
        f"{part}_pairs_per_second": large["pairs"] / large["seconds"],
    }
    if "cpu_seconds" in large:
        figures[f"{part}_pairs_per_cpu_second"] = large["pairs"] / large["cpu_seconds"]
    print(figures)
    if given.json:
        given.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
