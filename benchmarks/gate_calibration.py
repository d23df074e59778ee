"""Does the gate keep its promise? Simulated promotions with a known truth.

A/A pairs: two models of equal true quality on every task, with their own errors, evaluated on the same examples. The
gate promises at most 2.5 % false promotions (the lower end of a 95 % interval). Then the power: the same pairs, one
of them truly one point better on every task.

Examples are simulated per metric (ranks, correct rows out of ten classifiers, similarities against gold scores,
cluster assignments), the levels being LGAI-Embedding-Preview's recorded scores and the numbers of examples those of
MTEB(eng, v2), at most 1,000 a task. What two models share (the example's difficulty) and what is their own are in
the proportions of SHARED and OWN. Everything from raw outcomes on is the project's code.

    python -m benchmarks.gate_calibration [--quick] [--json FILE]
"""

import argparse
import json
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from components.evaluation.standing import public_scores
from components.promotion.gate import GateParams, decide
from components.statistics.jackknife import average_precision_values, spearman_values, v_measure_values
from components.statistics.paired import Evaluation

Floats = NDArray[np.float64]
MODEL = "annamodels/LGAI-Embedding-Preview"
# Examples of each test set (mteb's descriptive statistics; documents embedded for clustering); 1,000 where not named.
EXAMPLES = {
    "AmazonCounterfactualClassification": 670,
    "ArXivHierarchicalClusteringP2P": 81,
    "ArXivHierarchicalClusteringS2S": 81,
    "AskUbuntuDupQuestions": 361,
    "BIOSSES": 100,
    "FiQA2018": 648,
    "STS17": 250,
    "STS22.v2": 197,
    "SummEvalSummarization.v2": 100,
    "TRECCOVID": 50,
    "Touche2020Retrieval.v3": 49,
}
SHARED, OWN = 0.85, 0.53  # squares sum to 1: 72 % of the variance of an example's difficulty is common to both models


@dataclass(frozen=True)
class Examples:
    """Latent variables of a task's examples, common to both models: difficulty and content, float64 [n]."""

    difficulty: Floats
    content: Floats

    @classmethod
    def draw(cls, count: int, random: np.random.Generator) -> "Examples":
        """`count` examples of the population."""
        return cls(random.normal(size=count), random.uniform(size=count))


def ranks(ability: float, examples: Examples, own: Floats, random: np.random.Generator) -> Floats:
    """nDCG@10 of queries with one wanted document."""
    position = np.ceil(np.exp(np.maximum(0, 2 * (SHARED * examples.difficulty + OWN * own) - ability)))
    return np.where(position <= 10, 1 / np.log2(1 + position), 0.0)


def reciprocal_ranks(ability: float, examples: Examples, own: Floats, random: np.random.Generator) -> Floats:
    """Average precision of queries with one wanted document."""
    return 1 / np.ceil(np.exp(np.maximum(0, 2 * (SHARED * examples.difficulty + OWN * own) - ability)))


def correct_rows(ability: float, examples: Examples, own: Floats, random: np.random.Generator) -> Floats:
    """Share of ten classifiers that are right about a row."""
    chance = 1 / (1 + np.exp(-3 * (ability - SHARED * examples.difficulty - OWN * own)))
    return random.binomial(10, chance) / 10


def graded_pairs(ability: float, examples: Examples, own: Floats, random: np.random.Generator) -> Floats:
    """Spearman values of similarities against gold scores in steps of 0.2."""
    gold = np.round(5 * examples.content * 5) / 5
    noise = SHARED * examples.difficulty + OWN * own
    return spearman_values(examples.content + noise * np.exp(-ability), gold)


def labelled_pairs(ability: float, examples: Examples, own: Floats, random: np.random.Generator) -> Floats:
    """Average precision values with 30 % positive pairs."""
    labels = (examples.content < 0.3).astype(np.int64)
    return average_precision_values(ability * labels + SHARED * examples.difficulty + OWN * own, labels)


def clustered(ability: float, examples: Examples, own: Floats, random: np.random.Generator) -> Floats:
    """V-measure values of documents in ten topics; a document that is not understood lands anywhere."""
    labels = (10 * examples.content).astype(np.int64)
    understood = ability > SHARED * examples.difficulty + OWN * own
    return v_measure_values(labels, np.where(understood, labels, random.integers(0, 10, len(labels))))


def correlations(ability: float, examples: Examples, own: Floats, random: np.random.Generator) -> Floats:
    """Correlations of single texts, as in summarization."""
    return np.clip(ability + 0.3 * (SHARED * examples.difficulty + OWN * own), -1, 1)


Outcome = Callable[[float, Examples, Floats, np.random.Generator], Floats]
OUTCOMES: dict[str, Outcome] = {
    "Retrieval": ranks,
    "Reranking": reciprocal_ranks,
    "Classification": correct_rows,
    "STS": graded_pairs,
    "PairClassification": labelled_pairs,
    "Clustering": clustered,
    "Summarization": correlations,
}


def ability_for(level: float, outcome: Outcome) -> float:
    """The ability at which a large sample scores `level`, by bisection."""
    low, high = -8.0, 8.0
    for _ in range(20):
        random = np.random.default_rng(1)
        middle = (low + high) / 2
        examples = Examples.draw(10_000, random)
        score = outcome(middle, examples, random.normal(size=10_000), random).mean()
        low, high = (middle, high) if score < level else (low, middle)
    return middle


@dataclass(frozen=True)
class SimulatedTask:
    """A task and the abilities that reach its level and one point more."""

    name: str
    category: str
    examples: int
    level: float
    abilities: dict[float, float]


def simulated_tasks(cap: int, gain: float) -> list[SimulatedTask]:
    """The 41 tasks at the recorded levels."""
    rows = public_scores().filter(pl.col("model") == MODEL).select("task", "task_type", "score").sort("task")
    tasks = []
    for name, category, score in rows.iter_rows():
        abilities = {extra: ability_for(score + extra, OUTCOMES[category]) for extra in (0.0, gain)}
        tasks.append(SimulatedTask(name, category, min(cap, EXAMPLES.get(name, 1000)), score, abilities))
    return tasks


def evaluate_pair(
    tasks: list[SimulatedTask], gain: float, random: np.random.Generator
) -> tuple[Evaluation, Evaluation]:
    """Candidate (truly `gain` better on every task) and champion on the same freshly drawn examples."""
    values: tuple[dict[str, Floats], dict[str, Floats]] = ({}, {})
    for task in tasks:
        examples = Examples.draw(task.examples, random)
        for side, extra in enumerate((gain, 0.0)):
            own = random.normal(size=task.examples)
            values[side][task.name] = OUTCOMES[task.category](task.abilities[extra], examples, own, random)
    make = partial(_evaluation, tasks=tasks)
    return make("candidate", values[0]), make("champion", values[1])


def _evaluation(name: str, values: dict[str, Floats], tasks: list[SimulatedTask]) -> Evaluation:
    ids = {task.name: [str(row) for row in range(task.examples)] for task in tasks}
    scores = {task: float(found.mean()) for task, found in values.items()}
    return Evaluation(name, scores, {task.name: task.category for task in tasks}, ids, values)


def promotions(tasks: list[SimulatedTask], gain: float, pairs: int, params: GateParams, seed: int) -> dict[str, float]:
    """Shares over `pairs` simulated promotions, and what the interval looked like."""
    promoted, above, regressed, covered, widths, spread = 0, 0, 0, 0, [], []
    for number in range(pairs):
        random = np.random.default_rng([seed, number])
        verdict = decide(*evaluate_pair(tasks, gain, random), params=params)
        promoted += verdict.promote
        above += verdict.interval["lower"] > 0
        regressed += any(task.regression for task in verdict.per_task)
        covered += verdict.interval["lower"] <= gain <= verdict.interval["upper"]
        widths.append(verdict.interval["upper"] - verdict.interval["lower"])
        spread.append(verdict.mean_difference)
    return {
        "promoted": promoted / pairs,
        "lower_bound_above_zero": above / pairs,
        "any_regression": regressed / pairs,
        "coverage": covered / pairs,
        "half_width_points": 50 * float(np.median(widths)),
        "sd_points": 100 * float(np.std(spread)),
        "mean_points": 100 * float(np.mean(spread)),
    }


def main() -> None:
    """Run both simulations, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="40 + 20 pairs, at most 200 examples a task")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    pairs, power_pairs, cap, resamples = (40, 20, 200, 500) if given.quick else (1000, 300, 1000, 2000)
    start, gain = time.perf_counter(), 0.01
    tasks, params = simulated_tasks(cap, gain), GateParams(resamples=resamples)
    null = promotions(tasks, 0.0, pairs, params, seed=1)
    better = promotions(tasks, gain, power_pairs, params, seed=2)
    allowed = 0.025 + 1.96 * float(np.sqrt(0.025 * 0.975 / pairs))
    print(f"{len(tasks)} tasks, {sum(task.examples for task in tasks):,} examples a pair, {resamples:,} resamples,")
    print(f"{pairs} A/A pairs, {power_pairs} pairs one point apart; {platform.machine()}, numpy {np.__version__}")
    print(f"{'':28}{'A/A':>10}{'+1 point':>10}")
    for name in null:
        print(f"{name.replace('_', ' '):28}{null[name]:>10.4f}{better[name]:>10.4f}")
    verdict = "kept" if null["promoted"] <= allowed else "BROKEN"
    print(f"promise: false promotions <= 2.5 % + sampling error = {allowed:.2%}: {verdict}")
    print(f"{time.perf_counter() - start:.0f} s")
    if given.json:
        figures = {
            "false_promotion_rate": null["promoted"],
            "false_promotion_allowed": allowed,
            "power_at_one_point": better["promoted"],
            **{f"aa_{name}": value for name, value in null.items()},
            **{f"plus_one_{name}": value for name, value in better.items()},
            "pairs": pairs,
        }
        given.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
