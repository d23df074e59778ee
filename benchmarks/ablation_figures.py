"""From the results of runs to figures: means, paired differences, p-values corrected within a family."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import norm

from benchmarks.peers.measure import resampled_difference
from benchmarks.variant_runs import Result, Variant
from components.statistics.bootstrap import holm

# name of a headline figure: the variants with and without the ingredient; the figure is their difference
HEADLINES = {
    "full_over_naive": ("full", "naive"),
    "margin": ("full", "no_margin"),
    "soft_labels": ("full", "hard_labels"),
    "shots": ("shots", "full"),
}
WIDTH = 2 * norm.ppf(0.975)  # of a 95 % interval, in standard errors
Results = Mapping[str, Sequence[Result]]  # by variant: one a seed


def figures_of(variants: Mapping[str, Variant], results: Results) -> dict[str, Any]:
    """Headline figures first; then of each variant its scores, cost and difference. Scores and differences x 100."""
    figures: dict[str, Any] = {}
    for name, (there, without) in HEADLINES.items():
        if there in results and without in results:
            mean, low, high = difference(results[there], results[without])
            figures |= {name: mean, f"{name}_low": low, f"{name}_high": high}
    table = {name: row(variants[name], results) for name in results}
    for family in dict.fromkeys(variants[name].family for name in results):
        compared = [name for name in results if variants[name].family == family and "p" in table[name]]
        adjusted = holm(np.array([table[name]["p"] for name in compared]))
        for name, p in zip(compared, adjusted, strict=True):
            table[name] |= {"p_holm": float(p), "verdict": verdict(table[name], float(p))}
        best = max((name for name in results if variants[name].family in (family, "whole")), key=_dev_of(table))
        for name in compared:
            table[name]["best_on_dev"] = best == name
    return {**figures, "variants": table}


def row(variant: Variant, results: Results) -> dict[str, Any]:
    """A variant's figures."""
    own = results[variant.name]
    scores = {task: 100 * float(np.mean([one.scores[task].mean() for one in own])) for task in own[0].test}
    figures: dict[str, Any] = {
        "family": variant.family,
        "seeds": len(own),
        "dev": 100 * float(np.mean([one.dev for one in own])),
        "test": float(np.mean(list(scores.values()))),
        "cpu_seconds": float(np.mean([one.cpu_seconds for one in own])),
        "tokens": float(np.mean([one.tokens for one in own])),
        "tasks": scores,
    }
    if variant.against != variant.name and variant.against in results:
        mean, low, high = difference(own, results[variant.against])
        figures |= {"against": variant.against, "difference": mean, "low": low, "high": high}
        figures["p"] = p_value(mean, low, high)
    return figures


def difference(
    ours: Sequence[Result], theirs: Sequence[Result], tasks: Sequence[str] = ()
) -> tuple[float, float, float]:
    """(mean over tasks, 95 % interval) x 100 of the first minus the second, with the seeds that both have.

    Args:
        tasks: all test tasks when empty.
    """
    seeds = {one.seed for one in ours} & {one.seed for one in theirs}
    sides = [[one.scores for one in side if one.seed in seeds] for side in (ours, theirs)]
    mean, low, high = resampled_difference(sides[0], sides[1], tasks or tuple(sides[0][0]))
    return 100 * mean, 100 * low, 100 * high


def p_value(mean: float, low: float, high: float) -> float:
    """Two-sided, of a normal difference with the interval's width.

    >>> round(p_value(1.96, 0.0, 3.92), 3), p_value(0.0, 0.0, 0.0)
    (0.05, 1.0)
    """
    error = (high - low) / WIDTH
    return 1.0 if error == 0 else float(2 * norm.sf(abs(mean) / error))


def verdict(figures: Mapping[str, Any], p: float) -> str:
    """What is shown of a variant against its baseline, with the corrected p-value."""
    if p >= 0.05:
        return "no difference shown"
    return "better" if figures["difference"] > 0 else "worse"


def _dev_of(table: Mapping[str, Mapping[str, Any]]) -> Any:
    return lambda name: table[name]["dev"]
