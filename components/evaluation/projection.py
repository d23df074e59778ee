"""What MTEB(eng, v2) costs a 7B model: tokens counted from the tasks' sizes, time from a stated rate.

    foundry projection [--tflops 400] [--devices 1 --devices 8]

Tokens: public/task_sizes.csv, from the text counts and mean lengths that mteb ships (4.5 characters a token, 4.0 in
texts below 200 characters, at most 512 tokens). FLOPs of a forward pass = 2 * N * tokens, N = 6.98e9 non-embedding
parameters of Mistral-7B; attention is left out (a few per cent at 512 tokens). The rate is an assumption: 400 TFLOP/s
sustained in bf16 on an H100, several devices sharing the work evenly. Scoring and reading are not counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

SIZES = Path(__file__).with_name("public") / "task_sizes.csv"
PARAMETERS = 6.98e9
TFLOPS = 400.0  # of one H100, sustained, bf16
DEVICES = (1, 8)
RETRIEVAL_QUERY_MTOK = 0.45  # 8,820 queries of the ten retrieval tasks (mteb's descriptive_stats)


@dataclass(frozen=True)
class Projection:
    """One way to run the benchmark: `mtok` million tokens go through the model."""

    what: str
    mtok: float

    def hours(self, devices: int, tflops: float = TFLOPS) -> float:
        """Hours of encoding on `devices` GPUs of `tflops` TFLOP/s each."""
        return 2 * PARAMETERS * self.mtok * 1e6 / (tflops * 1e12 * devices) / 3600


def projections() -> list[Projection]:
    """Plain mteb against ours: with instructions, with few-shot examples, and for another prompt table.

    >>> [round(one.mtok) for one in projections()]
    [324, 232, 776, 232, 16]
    """
    sizes = pl.read_csv(SIZES)
    retrieval = sizes.filter(type="Retrieval")
    documents_only = float(retrieval["few_shot_shared_mtok"].sum()) - RETRIEVAL_QUERY_MTOK
    shared = float(sizes["few_shot_shared_mtok"].sum())
    return [
        Projection("instructions, plain mteb", float(sizes["plain_mtok"].sum())),
        Projection("instructions, ours (distinct texts)", float(sizes["distinct_mtok"].sum())),
        Projection("few-shot, plain mteb", float(sizes["few_shot_plain_mtok"].sum())),
        Projection("few-shot, ours (distinct, prefix shared)", shared),
        Projection("another prompt table, ours (documents stored)", shared - documents_only),
    ]


def table(tflops: float = TFLOPS, devices: Sequence[int] = DEVICES) -> str:
    """The projection as Markdown: a row a way to run, a column a number of H100s."""
    columns = ["run", "million tokens", *(f"{count} H100{'s' if count > 1 else ''}" for count in devices)]
    rows = [columns, ["---"] * len(columns)]
    for one in projections():
        rows.append([one.what, f"{one.mtok:.0f}", *(f"{one.hours(count, tflops):.2f} h" for count in devices)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
