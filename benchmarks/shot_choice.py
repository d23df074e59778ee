"""How often does select_shots take shots that do nothing, and how often shots that help?

Simulated tasks with a known truth. Every prompt is scored on the same dev examples, whose difficulty all prompts share;
the prompts of one strategy, which show each other's examples, err alike. Prompts do nothing (then shots should be taken
in at most 5 % of the tasks) or those with shots are all truly better by a gain. Three kinds of scores: nDCG@10 of one
wanted document, right or wrong, and jackknife values of Spearman's correlation. Beside the rule of
components/fewshot/choice.py stands the one-standard-error rule over all prompts, which corrects for nothing.

    python -m benchmarks.shot_choice [--quick] [--json FILE]
"""

import argparse
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from components.fewshot.choice import Tried, choose, fewest_shots
from components.statistics.jackknife import spearman_values

Floats = NDArray[np.float64]
SHARED, STRATEGY, OWN = 0.85, 0.4, 0.34  # of the example, of the strategy, of the prompt: squares sum to 1
PROMISE = 0.05  # share of the tasks in which shots that do nothing may be taken
STRATEGIES, MOST = 2, 5  # strategies tried, and numbers of shots of each


def ranks(ability: float, latent: Floats, random: np.random.Generator) -> Floats:
    """nDCG@10 of queries with one wanted document."""
    position = np.ceil(np.exp(np.maximum(0, 2 * latent - ability)))
    return np.where(position <= 10, 1 / np.log2(1 + position), 0.0)


def right_or_wrong(ability: float, latent: Floats, random: np.random.Generator) -> Floats:
    """Accuracy of a text."""
    return (latent < ability).astype(np.float64)


def correlation(ability: float, latent: Floats, random: np.random.Generator) -> Floats:
    """Spearman values of cosines against five grades; the grades are the same for all prompts."""
    grades = (np.arange(len(latent)) % 5).astype(np.float64)
    return spearman_values(grades * ability + 2 * latent, grades)


SCORES: dict[str, Callable[[float, Floats, np.random.Generator], Floats]] = {
    "ndcg_at_10": ranks,
    "accuracy": right_or_wrong,
    "spearman": correlation,
}
ABILITY = {"ndcg_at_10": 0.8, "accuracy": 0.7, "spearman": 1.0}  # scores of 0.75, 0.76 and 0.57


def tried_prompts(kind: str, examples: int, extra: float, random: np.random.Generator) -> list[Tried]:
    """The zero-shot prompt and STRATEGIES x MOST with shots, whose ability is larger by `extra`."""
    shared = SHARED * random.normal(size=examples)
    zero = np.hypot(STRATEGY, OWN) * random.normal(size=examples)
    found = [Tried("none", 0, SCORES[kind](ABILITY[kind], shared + zero, random))]
    for strategy in range(STRATEGIES):
        alike = STRATEGY * random.normal(size=examples)
        for shots in range(1, MOST + 1):
            latent = shared + alike + OWN * random.normal(size=examples)
            found.append(Tried(str(strategy), shots, SCORES[kind](ABILITY[kind] + extra, latent, random)))
    return found


def simulate(kind: str, examples: int, extra: float, tasks: int, seed: int) -> dict[str, float]:
    """Shares of tasks in which shots are taken, by our rule and by one standard error, and the mean true gain."""
    ours = uncorrected = 0
    gains = []
    for number in range(tasks):
        random = np.random.default_rng([seed, number])
        tried = tried_prompts(kind, examples, extra, random)
        ours += choose(tried, number).taken.shots > 0
        uncorrected += fewest_shots(tried).shots > 0
        gains.append(np.mean([one.mean for one in tried[1:]]) - tried[0].mean)
    return {"taken": ours / tasks, "one_standard_error": uncorrected / tasks, "gain": float(np.mean(gains))}


def main() -> None:
    """Run the simulations, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="20 tasks each")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    tasks, start = 20 if given.quick else 2_000, time.perf_counter()
    print(f"{tasks} tasks each, {STRATEGIES * MOST} prompts with shots; {platform.machine()}, numpy {np.__version__}")
    print(f"{'score':12}{'dev':>6}{'gain':>8}{'taken':>9}{'one SE':>9}")
    figures: dict[str, float] = {}
    for kind in SCORES:
        for examples in (50, 200):
            for extra in (0.0, 0.2, 0.4):
                found = simulate(kind, examples, extra, tasks, seed=1)
                print(f"{kind:12}{examples:6}{found['gain']:8.3f}", end="")
                print(f"{found['taken']:9.1%}{found['one_standard_error']:9.1%}")
                figures |= {f"{kind}_{examples}_{extra}_{what}": value for what, value in found.items()}
    null = [value for key, value in figures.items() if key.endswith("_0.0_taken")]
    allowed = PROMISE + 1.96 * float(np.sqrt(PROMISE * (1 - PROMISE) / tasks))
    print(f"shots that do nothing are taken in at most {max(null):.1%}; {PROMISE:.0%} + sampling error = {allowed:.1%}")
    print(f"{time.perf_counter() - start:.0f} s")
    if given.json:
        figures |= {"worst_null": max(null), "allowed": allowed, "tasks": tasks}
        given.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
