"""The few-shot training step against FlagEmbedding's ICL trainer and sentence-transformers: useful tokens a second.

    python -m benchmarks.training_step [--quick] [--json FILE] [--steps N] [--threads N] [--flagembedding PYTHON]

One random 4-layer, 512-wide Mistral and one tokenizer, saved once and loaded by every side: LoRA rank 16 on all seven
projections with dropout 0.1, fp32, AdamW, temperature 0.02, InfoNCE over in-batch and hard negatives, a number of
shots uniform over {0..5}. Two kinds of batch:

    symmetric   32 queries of 20-60 tokens, positive and one negative alike, the instruction on both sides
    retrieval   16 queries of 20-60 tokens; positive and three negatives of 30-300 tokens (most are short)

A step is collation, forward, backward and update. Ours is paired with each peer: two processes (three do not fit into
24 GiB) that take a step in turn. Useful tokens: those of every sequence with its own prefix, without padding. Shots of
FlagEmbedding are drawn by its own code, for each query; ours and sentence-transformers' have one set a batch, and the
steps of both have each number of shots equally often. sentence-transformers gets the shots pasted before its texts.

Ours has rows of 4,096 tokens, as recipes/mistral-7b.yaml has them. Peers at their best: torch's SDPA, the better of
whole batches and sub-batches of 8 in FlagEmbedding and the better of all columns in one forward and a forward for each
in sentence-transformers, measured first; the allocator keeps freed memory on every side; their Trainer's own overhead
is left out, ours is in. FlagEmbedding runs in the Python of an environment that has it (--flagembedding); without the
option that side is reported as not run.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.training_step_data import KINDS, MAX_SHOTS, write_model, write_texts


def main() -> None:
    """Measure, print, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--steps", type=int, default=MAX_SHOTS + 1, help="a multiple of 6: each number of shots once")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--flagembedding", type=Path, help="Python of an environment that has FlagEmbedding 1.4")
    given = parser.parse_args()
    if given.steps % (MAX_SHOTS + 1):
        parser.error(f"--steps {given.steps}: not a multiple of {MAX_SHOTS + 1}")
    peers = {"sentence_transformers": sys.executable}
    if given.flagembedding:
        peers["flagembedding"] = str(given.flagembedding)
    figures: dict[str, float] = {}
    print(f"{given.steps} steps a side, {given.threads} threads, {platform.processor() or platform.machine()}")
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        write_model(work / "model", *((2, 64) if given.quick else (4, 512)))
        for kind in KINDS:
            write_texts(work / f"{kind}.jsonl", kind, given.steps, given.quick)
            for peer, python in peers.items():
                figures |= measure(kind, peer, python, work, given.steps, given.threads)
    if not given.flagembedding:
        print("  flagembedding: not run (give --flagembedding PYTHON)")
    if given.json:
        given.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def measure(kind: str, peer: str, python: str, work: Path, steps: int, threads: int) -> dict[str, float]:
    """One kind of batch, ours and a peer that runs in `python`: both rates, and ours over the peer's."""
    sides = {
        name: subprocess.Popen(
            [executable, "-m", "benchmarks.training_step_sides", name, kind, str(work), str(steps), str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1]), "GOMP_SPINCOUNT": "1000"},
        )
        for name, executable in {"ours": sys.executable, peer: python}.items()
    }
    try:
        versions = {name: told(side)[1] for name, side in sides.items()}  # ready: loaded and warmed up
        steps_of: dict[str, list[tuple[float, int]]] = {name: [] for name in sides}
        for _ in range(steps):
            for name, side in sides.items():
                assert side.stdin is not None
                side.stdin.write("go\n")
                side.stdin.flush()
                seconds, tokens = told(side)
                steps_of[name].append((float(seconds), int(tokens)))
    finally:
        for side in sides.values():
            side.kill()
            side.wait()
    rates = {name: sum(t for _, t in taken) / sum(s for s, _ in taken) for name, taken in steps_of.items()}
    print(f"{kind}: useful tokens/s (over all steps), seconds of a step: median, least and most")
    for name, taken in steps_of.items():
        seconds_of = [s for s, _ in taken]
        spread = f"{statistics.median(seconds_of):.2f} [{min(seconds_of):.2f}, {max(seconds_of):.2f}]"
        useful = sum(t for _, t in taken) / steps
        ratio = rates["ours"] / rates[name]
        print(
            f"  {name:22} {versions[name]:28} {rates[name]:9.0f} tokens/s  {spread:22} s  {useful:7.0f} useful tokens "
            f"a step  ours: {ratio:.2f}x"
        )
    return {
        f"vs_{peer}_{kind}": rates["ours"] / rates[peer],
        f"{peer}_{kind}_useful_tokens_per_second": rates[peer],
        f"ours_beside_{peer}_{kind}_useful_tokens_per_second": rates["ours"],
    }


def told(side: "subprocess.Popen[str]") -> list[str]:
    """The next line that side prints for us, after `figures`; stops when the side has ended."""
    assert side.stdout is not None
    for line in side.stdout:
        if line.startswith("figures\t"):
            return line.rstrip("\n").split("\t")[1:]
    raise SystemExit("error: a side has ended; its error stands above")


if __name__ == "__main__":
    main()
