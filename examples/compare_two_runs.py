"""Compare two evaluations task by task: is the difference more than chance?

    python examples/compare_two_runs.py outputs/evaluate ../before/outputs/evaluate

Both folders come from the evaluate stage, on the same benchmark. The gate decides promotions by the same numbers.
"""

import sys
from pathlib import Path

from components.promotion.gate import Verdict, gate_folders


def comparison(new: Path, old: Path) -> tuple[Verdict, str]:
    """The verdict, and a table: points that the new model is better by, with their 95 % interval over examples."""
    verdict = gate_folders(new, old)
    lines = [f"{'task':24} {'old':>6} {'new':>6} {'difference':>11}"]
    for task in verdict.per_task:
        interval = f"[{100 * task.lower:+.1f}, {100 * task.upper:+.1f}]"
        scores = f"{100 * task.champion:6.1f} {100 * task.candidate:6.1f}"
        lines.append(f"{task.task:24} {scores} {100 * task.difference:+11.1f} {interval}")
    low, high = 100 * verdict.interval["lower"], 100 * verdict.interval["upper"]
    lines.append(f"mean over tasks {100 * verdict.mean_difference:+.2f} [{low:+.2f}, {high:+.2f}]: {verdict.verdict}")
    return verdict, "\n".join([*lines, *verdict.reasons])


if __name__ == "__main__":
    print(comparison(Path(sys.argv[1]), Path(sys.argv[2]))[1])
