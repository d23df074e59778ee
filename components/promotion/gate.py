"""Promotion gate: a statistical comparison of candidate and champion, with verdict, reasons and numbers.

Promote if the lower bound of the mean(task) difference exceeds the required minimum, and no task regresses. The bound
comes from a paired bootstrap of examples within the fixed tasks. A task regresses if its drop is larger than its margin
and Holm-adjusted significant. The margin is `regression_margin` plus the task's A/A noise floor: the score's change
when the same weights are evaluated again with another batch size (`--again`).
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.statistics.bootstrap import (
    LEVEL,
    RESAMPLES,
    Resamples,
    clustered_bootstrap,
    holm,
    interval,
    p_below_zero,
    paired_bootstrap,
)
from components.statistics.paired import Evaluation, check_comparable, differences, read_evaluation


@dataclass(frozen=True)
class GateParams:
    """Thresholds of the gate; scores and differences are in 0..1, so 0.01 is one point.

    minimum_gain: the lower bound must exceed it; negative = non-inferiority ("no worse than").
    regression_margin: a task may drop by this much more than its noise floor.
    """

    resamples: int = RESAMPLES
    seed: int = 0
    level: float = LEVEL
    alpha: float = 0.05
    minimum_gain: float = 0.0
    regression_margin: float = 0.005


@dataclass(frozen=True)
class TaskVerdict:
    """One task: scores, difference with its interval, and whether it regresses."""

    task: str
    category: str
    candidate: float
    champion: float
    difference: float
    lower: float
    upper: float
    p_holm: float
    examples: int
    margin: float
    regression: bool


@dataclass(frozen=True)
class NoiseFloor:
    """Absolute score differences between two evaluations of the same weights."""

    measured: bool
    mean: float
    per_task: dict[str, float]


@dataclass(frozen=True)
class Verdict:
    """The content of `gate.json`."""

    verdict: str
    reasons: list[str]
    candidate: dict[str, Any]
    champion: dict[str, Any]
    mean_difference: float
    interval: dict[str, float]
    type_interval: dict[str, float]
    noise_floor: NoiseFloor
    per_task: list[TaskVerdict]
    params: GateParams

    @property
    def promote(self) -> bool:
        """Whether the candidate replaces the champion."""
        return self.verdict == "promote"

    def to_json(self) -> str:
        """Sorted, indented JSON; the same inputs give the same bytes."""
        return json.dumps(asdict(self), indent=2, sort_keys=True, allow_nan=False) + "\n"


def noise_floor(first: Evaluation, again: Evaluation) -> NoiseFloor:
    """A/A noise floor from two evaluations of the same weights, e.g. with different batch sizes.

    Raises:
        UserError: the evaluations are not comparable.
    """
    check_comparable(again, first)
    moved = {task: again.scores[task] - first.scores[task] for task in first.tasks}
    return NoiseFloor(True, abs(float(np.mean(list(moved.values())))), {task: abs(moved[task]) for task in moved})


def decide(
    candidate: Evaluation, champion: Evaluation, floor: NoiseFloor | None = None, params: GateParams | None = None
) -> Verdict:
    """Compare two evaluations on the same examples. Raises UserError when they are not comparable."""
    params, per_example = params or GateParams(), differences(candidate, champion)
    floor = floor or NoiseFloor(False, 0.0, dict.fromkeys(candidate.tasks, 0.0))
    resampled = paired_bootstrap(per_example, params.resamples, params.seed)
    observed = {task: candidate.scores[task] - champion.scores[task] for task in candidate.tasks}
    mean = float(np.mean(list(observed.values())))
    lower, upper = interval(resampled.mean, params.level)
    by_type = clustered_bootstrap(observed, candidate.categories, params.resamples, params.seed)
    tasks = _task_verdicts(candidate, champion, resampled, floor, params)
    reasons, promote = _reasons(mean, lower, upper, floor, tasks, params)
    return Verdict(
        verdict="promote" if promote else "hold",
        reasons=reasons,
        candidate=_summary(candidate),
        champion=_summary(champion),
        mean_difference=mean,
        interval={"level": params.level, "lower": lower, "upper": upper},
        type_interval=dict(zip(("lower", "upper"), interval(by_type, params.level), strict=True)),
        noise_floor=floor,
        per_task=tasks,
        params=params,
    )


def _summary(evaluation: Evaluation) -> dict[str, Any]:
    return {"name": evaluation.name, "mean_task": evaluation.mean_task, "mean_type": evaluation.mean_type}


def _task_verdicts(
    candidate: Evaluation, champion: Evaluation, resampled: Resamples, floor: NoiseFloor, params: GateParams
) -> list[TaskVerdict]:
    adjusted: NDArray[np.float64] = holm(p_below_zero(resampled.replicates))
    verdicts = []
    for row, task in enumerate(resampled.tasks):
        difference = candidate.scores[task] - champion.scores[task]
        margin = params.regression_margin + floor.per_task.get(task, 0.0)
        lower, upper = interval(resampled.replicates[row], params.level)
        verdicts.append(
            TaskVerdict(
                task=task,
                category=candidate.categories[task],
                candidate=candidate.scores[task],
                champion=champion.scores[task],
                difference=difference,
                lower=lower,
                upper=upper,
                p_holm=float(adjusted[row]),
                examples=int(resampled.examples[row]),
                margin=margin,
                regression=bool(difference < -margin and adjusted[row] < params.alpha),
            )
        )
    return verdicts


def _reasons(
    mean: float, lower: float, upper: float, floor: NoiseFloor, tasks: list[TaskVerdict], params: GateParams
) -> tuple[list[str], bool]:
    """Reasons as text, with scores in points of 100, and whether to promote."""
    needed = max(params.minimum_gain, floor.mean) if params.minimum_gain >= 0 else params.minimum_gain
    better = lower > needed
    shown = (
        f"{100 * mean:+.2f} points of mean(task), {params.level:.0%} interval [{100 * lower:+.2f}, {100 * upper:+.2f}]"
    )
    reasons = [f"{shown}: its lower bound is {'above' if better else 'not above'} {100 * needed:+.3f}"]
    regressed = [task for task in tasks if task.regression]
    for task in sorted(regressed, key=lambda one: one.difference):
        reasons.append(
            f"{task.task} regresses by {-100 * task.difference:.2f} points, more than its margin of"
            f" {100 * task.margin:.2f} (Holm-adjusted p = {task.p_holm:.4f})"
        )
    if not regressed:
        reasons.append(f"none of {len(tasks)} tasks regresses beyond its margin")
    coarse = [task.task for task in tasks if task.examples == 1]
    if coarse:
        reasons.append(f"no example scores of {', '.join(coarse)}: the difference counts, without a spread")
    if not floor.measured:
        reasons.append("the A/A noise floor was not measured: 0 is taken")
    return reasons, better and not regressed


def gate_folders(
    candidate: Path,
    champion: Path,
    again: Path | None = None,
    models: tuple[str, str] = ("trained", "trained"),
    params: GateParams | None = None,
) -> Verdict:
    """`decide` on evaluation folders; `again` is an A/A evaluation of the candidate. Raises UserError on bad input."""
    ours, theirs = read_evaluation(candidate, models[0]), read_evaluation(champion, models[1])
    floor = noise_floor(ours, read_evaluation(again, models[0])) if again else None
    return decide(ours, theirs, floor, params)
