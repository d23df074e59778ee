"""What MTEB(eng, v2) costs a 7B model: tokens counted from the tasks' sizes, time from a stated rate.

FLOPs of a forward pass = 2 * N * tokens, N = 6.98e9 non-embedding parameters of Mistral-7B; attention is left out (a
few per cent at 512 tokens). The rate is an assumption: 400 TFLOP/s sustained in bf16 on an H100.
"""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

SIZES = Path(__file__).with_name("public") / "task_sizes.csv"
PARAMETERS = 6.98e9
RATE = 400e12  # FLOP/s of one H100


@dataclass(frozen=True)
class Projection:
    """One way to run the benchmark."""

    what: str
    mtok: float

    def hours(self, devices: int) -> float:
        """Hours of encoding on `devices` H100s, scoring not counted."""
        return 2 * PARAMETERS * self.mtok * 1e6 / (RATE * devices) / 3600


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


RETRIEVAL_QUERY_MTOK = 0.45  # 8,820 queries of the ten retrieval tasks (mteb's descriptive_stats)


def table() -> str:
    """The projection as Markdown."""
    lines = ["| run | million tokens | 1 H100 | 8 H100s |", "|---|---|---|---|"]
    for one in projections():
        lines.append(f"| {one.what} | {one.mtok:.0f} | {one.hours(1):.2f} h | {one.hours(8):.2f} h |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
