"""The trained starter on tasks far from its training, and what pairs of one's own add to it.

    python -m benchmarks.transfer [--folder DIR] [--json FILE] [--seeds N] [--quick]

Unseen tasks: those of recipes/bench.yaml whose sources nothing is trained on; the starter's training against its base
and its dense teacher. Own data: boolq stands for it. A starter that was trained without boolq is the starting point;
300 and 3,000 of its pairs are then trained on, from that adapter (train.init_adapter) and from a new one. Gains are
over the starting point, which a user has without training. 95 % intervals over test examples (paired) and seeds.

Runs that have finished in --folder are not run again. The defaults take over an hour of two cores.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.ablation import QUICK, few_texts
from benchmarks.ablation_figures import difference
from benchmarks.about import about
from benchmarks.json_file import write_json
from benchmarks.peers.measure import score_test_tasks
from benchmarks.quality_vs_peers import UNSEEN
from benchmarks.rehearsal import ROOT
from benchmarks.variant_runs import SEEDED, Result, Runs, Variant, changes_from
from components.base.errors import UserError
from components.config import read_parameters
from components.config.load import parse_config
from components.config.overrides import apply_overrides
from components.model.encoder import EncoderSource
from components.model.load_once import ModelSource
from components.model.sentence_model import SentenceSource

OWN = "boolq"
OWN_STEPS = {300: 60, 3000: 120}  # by number of pairs
ALWAYS: Mapping[str, Any] = {"score.queries": "all"}


def main() -> None:
    """Run what has not run, print the tables, write the JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, help="where runs are kept; a temporary folder when empty")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="four steps of one layer: the path, not the figures")
    given = parser.parse_args()
    always, own, starter = dict(ALWAYS), OWN_STEPS, starter_training()
    if given.quick:
        always, own, starter = {**always, **QUICK, **few_texts()}, {20: 4, 40: 4}, {"train.steps": 4}
    variants = variants_of(starter, own)
    with tempfile.TemporaryDirectory(prefix="transfer-") as temporary:
        runs = Runs(given.folder or Path(temporary), "bench", always, variants)
        figures = measure(runs, own, given.seeds)
    settings = {**always, "train.steps": variants["trained"].changes["train.steps"]}
    figures["about"] = about(given.seeds, settings, runs.code)
    print_tables(figures)
    if given.json:
        write_json(given.json, figures)


def starter_training() -> dict[str, Any]:
    """What the starter trains on and how long, by dotted key: its numbers of pairs, its steps and its shots."""
    recipe = read_parameters(ROOT / "recipes" / "starter.yaml")
    tasks = recipe["prepare"]["tasks"]
    sizes = {f"prepare.tasks.{name}.train": task["train"] for name, task in tasks.items() if "train" in task}
    return {**sizes, **{f"train.{key}": recipe["train"][key] for key in ("steps", "shots")}}


def variants_of(starter: Mapping[str, Any], own: Mapping[int, int]) -> dict[str, Variant]:
    """The starter, the starter without the own data, and the runs on own data.

    Args:
        starter: the changes that make the bench's training the starter's.
        own: steps by number of own pairs.
    """
    starter = {**starter, "train.dev.every": starter["train.steps"]}
    without = {key: value for key, value in starter.items() if OWN not in key.split(".")}
    trained = {
        "trained": Variant("trained", "starter", starter),
        "before": Variant("before", "starter", {**without, **own_task(train=0, dev=0, dev_documents=0)}),
    }
    for pairs, own_steps in own.items():
        changes = {"prepare.tasks": {OWN: _task(pairs)}, "train.steps": own_steps, "train.dev.every": own_steps}
        trained[f"own_{pairs}"] = Variant(f"own_{pairs}", "own", changes)
        trained[f"own_{pairs}_from_before"] = Variant(f"own_{pairs}_from_before", "own", changes, start="before")
    return trained


def own_task(**values: int) -> dict[str, int]:
    """Values of the own data's task, by dotted key."""
    return {f"prepare.tasks.{OWN}.{key}": value for key, value in values.items()}


def _task(pairs: int) -> dict[str, Any]:
    """The own data's task alone, with so many training pairs."""
    task: dict[str, Any] = read_parameters(ROOT / "recipes" / "bench.yaml")["prepare"]["tasks"][OWN]
    return {**task, "train": pairs}


def measure(runs: Runs, own: Mapping[int, int], seeds: int) -> dict[str, Any]:
    """The figures of both tables."""
    numbers = range(1, seeds + 1)
    results = {name: [runs.result(one, seed) for seed in numbers] for name, one in runs.variants.items()}
    trained, before = runs.variants["trained"], runs.variants["before"]
    base, teacher = (reference(runs, trained, 1, name) for name in ("base", "teacher"))
    own_runs = {name: results[name] for name in results if name.startswith("own_")}
    start = {
        name: [reference(runs, runs.variants[name], n, "before", runs.place(before, n) / "adapter") for n in numbers]
        for name in own_runs
    }
    return {**unseen_figures(results["trained"], base, teacher), "own": own_figures(own_runs, start, own)}


def reference(runs: Runs, data: Variant, seed: int, name: str, adapter: Path | None = None) -> Result:
    """The zero-shot test scores, on the data of a variant's run, of a model that was not trained in it.

    Args:
        name: teacher (the dense one), else the student with `adapter`, or without one.
    """
    place = runs.place(data, seed).with_name(f"{name}-on-{runs.place(data, seed).name}")
    file = place / "run.json"
    if not file.is_file():
        start = changes_from(runs.start_of(data, seed)) if data.start else {}
        raw = apply_overrides(runs.raw, {**data.changes, **start})
        runs.store.bring("select_shots", raw, dict.fromkeys(SEEDED, seed), "")
        config, outputs = parse_config(raw, name), runs.folder / "outputs"
        models, vectors = outputs / "fetch" / "models", runs.folder / ".cache" / "vectors"
        source: ModelSource = (
            SentenceSource(models / config.evaluate.teacher, vectors, config.encoder.device)
            if name == "teacher"
            else EncoderSource(models / "student", vectors, config.prompt, config.encoder, adapter)
        )
        scores = score_test_tasks(name, source, None, config, outputs, place / "test")
        test = {task: values.tolist() for task, values in scores.items()}
        write_json(file, asdict(Result(name, seed, 0.0, test, 0.0, 0.0)))
    return Result(**json.loads(file.read_text(encoding="utf-8")))


def unseen_figures(trained: Sequence[Result], base: Result, teacher: Result) -> dict[str, Any]:
    """Each unseen task, and the means over them. Scores x 100; share: of the way from base to teacher."""
    rows: dict[str, Any] = {}
    for task in UNSEEN:
        one = {
            name: 100 * float(np.mean([result.scores[task].mean() for result in side]))
            for name, side in (("base", [base]), ("trained", trained), ("teacher", [teacher]))
        }
        gain = gain_over(trained, base, (task,))
        rows[task] = {**one, "share": share_of_way(**one), **gain}
    means = {name: float(np.mean([one[name] for one in rows.values()])) for name in ("base", "trained", "teacher")}
    return {
        "unseen_share": share_of_way(**means),
        **{f"unseen_{name}": value for name, value in means.items()},
        "unseen_above_base": sum(one["trained"] > one["base"] for one in rows.values()),
        "unseen_tasks": len(rows),
        "unseen": rows,
    }


def own_figures(
    results: Mapping[str, Sequence[Result]], start: Mapping[str, Sequence[Result]], own: Mapping[int, int]
) -> dict[str, Any]:
    """What the own pairs add over the starting point, on the test data of the same run.

    Args:
        results, start: by run: its scores, and those of the starting point.
    """
    rows = []
    for pairs in own:
        for name, init in ((f"own_{pairs}", False), (f"own_{pairs}_from_before", True)):
            cpu = float(np.mean([one.cpu_seconds for one in results[name]]))
            gains = difference(results[name], start[name], (OWN,))
            gain = dict(zip(("gain", "gain_low", "gain_high"), gains, strict=True))
            scores = {"score": mean_own(results[name]), "before": mean_own(start[name])}
            rows.append({"pairs": pairs, "init_adapter": init, "cpu_seconds": cpu, **scores, **gain})
    return {"task": OWN, "runs": rows}


def mean_own(side: Sequence[Result]) -> float:
    """Mean score x 100 of the own data's task."""
    return 100 * float(np.mean([one.scores[OWN].mean() for one in side]))


def gain_over(trained: Sequence[Result], base: Result, tasks: Sequence[str]) -> dict[str, float]:
    """Trained minus base with the interval; the base has one seed, compared with each of the trained ones."""
    beside = [Result(**{**asdict(base), "seed": one.seed}) for one in trained]
    return dict(zip(("gain", "gain_low", "gain_high"), difference(trained, beside, tasks), strict=True))


def share_of_way(base: float, trained: float, teacher: float) -> float:
    """How far from base to teacher; a teacher that is no better than the base is reached unless training made it worse.

    >>> share_of_way(10, 40, 50), share_of_way(50, 60, 40), share_of_way(50, 45, 40), share_of_way(50, 50, 50)
    (0.75, 1.0, 0.0, 1.0)
    """
    if teacher <= base:
        return float(trained >= base)
    return (trained - base) / (teacher - base)


def print_tables(figures: Mapping[str, Any]) -> None:
    """A line a task, a line a run."""
    print(f"  {'unseen task':18} {'base':>6} {'trained':>8} {'teacher':>8} {'of the way':>11}")
    for task, one in figures["unseen"].items():
        print(f"  {task:18} {one['base']:6.1f} {one['trained']:8.1f} {one['teacher']:8.1f} {one['share']:11.0%}")
    print(f"  of the way, mean: {figures['unseen_share']:.0%}")
    for one in figures["own"]["runs"]:
        start = "from the trained adapter" if one["init_adapter"] else "from a new adapter"
        gain = f"{one['gain']:+.1f} [{one['gain_low']:+.1f}, {one['gain_high']:+.1f}]"
        scores = f"{one['before']:5.1f} {one['score']:5.1f} {gain:24}"
        print(f"  {one['pairs']:5,} own pairs {start:26} {scores} {one['cpu_seconds']:6.0f} CPU s")


if __name__ == "__main__":
    try:
        main()
    except UserError as problem:
        sys.exit(f"error: {problem}")
