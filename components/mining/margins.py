"""The margin of each task: mine.margin, or the largest whose judged false-negative rate is within a bound.

The estimate for a margin is the mean probability of relevance, by the judge (components/mining/evidence.py), of the
negatives that it would select: the hardest `negatives` of each dev query that pass all rules.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl

from components.config import MineParams
from components.config.mining import Scale
from components.mining.evidence import Evidence
from components.mining.rules import apply_rules, share_of_positive

GRID = [round(0.5 + 0.01 * step, 2) for step in range(51)]  # margins tried: 0.50 ... 1.00
CURVE = {"margin": pl.Float64, "false_negative_rate": pl.Float64, "negatives_per_query": pl.Float64}


@dataclass(frozen=True)
class TaskMargin:
    """Margin of one task.

    Attributes:
        curve: what each margin of GRID would give on the dev queries; the rate is null without a usable judge.
        fitted: False: it is mine.margin.
        told: a line for the log and the report, or None.
    """

    margin: float
    curve: pl.DataFrame
    fitted: bool = False
    told: str | None = None

    @property
    def rate(self) -> float | None:
        """Estimated false-negative rate at the margin, if it is on GRID."""
        return next(iter(self.curve.filter(pl.col("margin") == self.margin)["false_negative_rate"]), None)


def fit_margin(task: str, dev: pl.DataFrame, evidence: Evidence | None, params: MineParams, scale: Scale) -> TaskMargin:
    """The margin of a task, from the facts of its dev queries' candidates."""
    curve = margin_curve(dev, evidence, params, scale)
    bound = params.judge.false_negative_rate if params.judge else None
    if evidence is None or bound is None:
        return TaskMargin(params.margin, curve)
    if evidence.unfitted:
        told = f"{task}: no margin fitted, mine.margin {params.margin:g} stays: {evidence.unfitted}"
        return TaskMargin(params.margin, curve, told=told)
    safe = curve.filter(pl.col("false_negative_rate").fill_null(0.0) <= bound)
    margin = float(max(safe["margin"], default=GRID[0]))
    return TaskMargin(margin, curve, fitted=True, told=_warning(task, margin, curve, bound))


def _warning(task: str, margin: float, curve: pl.DataFrame, bound: float) -> str | None:
    """The warning for a margin at either end of GRID."""
    rate = curve.filter(pl.col("margin") == margin)["false_negative_rate"].item()
    estimate = "no negatives" if rate is None else f"estimated false-negative rate {100 * rate:.1f} %"
    if margin == GRID[-1]:
        return f"{task}: fitted margin {margin:g}: all that scores below the positive is kept ({estimate})"
    if margin == GRID[0]:
        return (
            f"{task}: fitted margin {margin:g}, the smallest tried ({estimate}, bound {100 * bound:.1f} %); "
            "the teacher or the judge hardly knows this task: read the report"
        )
    return None


def margin_curve(dev: pl.DataFrame, evidence: Evidence | None, params: MineParams, scale: Scale) -> pl.DataFrame:
    """Columns CURVE over GRID; empty without dev queries."""
    if dev.is_empty():
        return pl.DataFrame(schema=CURVE)
    usable = apply_rules(dev, params, scale, relative_rule=False).filter(pl.col("reason").is_null())
    usable = usable.filter(~pl.col("own")).sort(["query", "score", "document"], descending=[False, True, False])
    shares = usable.select(share_of_positive(pl.col("value"), pl.col("weakest"))).to_series().to_numpy()
    rates = evidence.false_negative_rates(shares) if evidence and not evidence.unfitted else None
    codes = usable["query"].to_numpy()
    first = np.searchsorted(codes, codes)  # place of the query's first row
    queries, rows = dev["query"].n_unique(), []
    for margin in GRID:
        kept = shares < margin
        before = np.concatenate([[0], np.cumsum(kept)])
        used = kept & (before[1:] - before[first] <= params.negatives)
        rate = float(rates[used].mean()) if rates is not None and used.any() else None
        rows.append((margin, rate, int(used.sum()) / queries))
    return pl.DataFrame(rows, schema=CURVE, orient="row")
