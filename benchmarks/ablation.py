"""What each ingredient of the recipe is worth: every variant of benchmarks/ablation.yaml, trained with three seeds.

    python -m benchmarks.ablation [--folder DIR] [--json FILE] [--only NAME ...] [--seeds N] [--quick]

A variant changes recipes/bench.yaml and runs the product's own stages. Stages whose parameters and inputs no variant
changes run once. Test scores are reported and decide nothing: `best_on_dev` names the best of a family (and the full
recipe) on dev queries. Differences: mean over the test tasks, with a 95 % interval over test examples (paired) and
seeds; p-values are corrected within a family (Holm). After the first run the seconds of the whole are estimated.

Runs that have finished in --folder are not run again, so a killed matrix goes on with the same command. `foundry runs`
in the folder, and MLflow on its mlflow.db, compare the runs.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from benchmarks.ablation_figures import figures_of
from benchmarks.about import about
from benchmarks.json_file import write_json
from benchmarks.rehearsal import ROOT
from benchmarks.variant_runs import Result, Runs, Variant
from components.base.errors import UserError
from components.config import read_parameters

FILE = ROOT / "benchmarks" / "ablation.yaml"
LONGEST_HOURS = 6
QUICK = {
    "train.steps": 4,
    "train.batch_queries": 8,
    "train.warmup_steps": 1,
    "train.checkpoint_every": 1,
    "fetch.models.student.layers": 1,
    "select_shots.dev_queries": 8,
}


def main() -> None:
    """Run what has not run, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, help="where runs are kept; a temporary folder when empty")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="variants; full is always among them")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="four steps of one layer: the path, not the figures")
    given = parser.parse_args()
    always, variants = read_variants(FILE)
    chosen = choose(variants, given.only)
    with tempfile.TemporaryDirectory(prefix="ablation-") as temporary:
        if given.quick:
            always = {**always, **QUICK, **few_texts()}
        runs = Runs(given.folder or Path(temporary), "bench", always, variants)
        results = run_all(runs, chosen, given.seeds)
    figures = {**figures_of(variants, results), "about": about(given.seeds, always, runs.code)}
    print_table(figures)
    if given.json:
        write_json(given.json, figures)


def read_variants(file: Path) -> tuple[dict[str, Any], dict[str, Variant]]:
    """(changes of every variant, variants by name).

    Raises:
        UserError: a variant has an unknown key, or names one that is not there.
    """
    stated = yaml.safe_load(file.read_text(encoding="utf-8"))
    variants: dict[str, Variant] = {}
    for name, entry in stated["variants"].items():
        try:
            variants[name] = Variant(name, **entry)
        except TypeError as problem:
            raise UserError(f"{file}: variants.{name}: {problem}") from None
    for one in variants.values():
        for other in filter(None, (one.against, one.start)):
            if other not in variants:
                raise UserError(f"{file}: variants.{one.name}: there is no variant {other}")
    return stated["always"], variants


def choose(variants: Mapping[str, Variant], only: Sequence[str] | None) -> list[Variant]:
    """The variants to run, in the file's order, with what they are compared with. Raises UserError: no such variant."""
    wanted = set(only or variants)
    unknown = sorted(wanted - set(variants))
    if unknown:
        raise UserError(f"--only {unknown[0]}: no such variant; there are {', '.join(variants)}")
    wanted |= {variants[name].against for name in wanted}
    return [one for name, one in variants.items() if name in wanted]


def few_texts() -> dict[str, Any]:
    """The changes that cut every task of the bench to a few texts."""
    cut = {"train": 60, "test": 20, "test_documents": 20, "fit": 20}  # mine needs the dev queries of all
    tasks = read_parameters(ROOT / "recipes" / "bench.yaml")["prepare"]["tasks"]
    return {
        f"prepare.tasks.{name}.{key}": value
        for name, task in tasks.items()
        for key, value in cut.items()
        if key in task and name not in ("lee", "privacy", "privacy_pairs")
    }


def run_all(runs: Runs, chosen: Sequence[Variant], seeds: int) -> dict[str, list[Result]]:
    """Every run, variant by variant; those of an earlier call are read."""
    queue = [(one, seed) for one in chosen for seed in range(1, seeds + 1)]
    left = [pair for pair in queue if not runs.is_over(*pair)]
    print(f"{len(queue)} runs, {len(queue) - len(left)} of them over", flush=True)
    results: dict[str, list[Result]] = {}
    begin, done = time.perf_counter(), 0
    for variant, seed in queue:
        results.setdefault(variant.name, []).append(runs.result(variant, seed))
        if (variant, seed) in left:
            done += 1
            seconds = (time.perf_counter() - begin) / done
            hours = seconds * (len(left) - done) / 3600
            far = f"; over {LONGEST_HOURS} hours: take --only or --seeds" if done == 1 and hours > LONGEST_HOURS else ""
            print(f"  {seconds:.0f} s a run, {len(left) - done} left: {hours:.1f} hours{far}", flush=True)
    return results


def print_table(figures: Mapping[str, Any]) -> None:
    """The headline figures, and a line a variant."""
    for name, value in figures.items():
        if isinstance(value, float):
            print(f"  {name:28} {value:+.2f}")
    print(f"  {'variant':26} {'dev':>6} {'test':>6} {'difference':>24} {'p (Holm)':>9} {'CPU s':>7}")
    for name, one in figures["variants"].items():
        shown = f"{one['difference']:+.2f} [{one['low']:+.2f}, {one['high']:+.2f}]" if "difference" in one else ""
        p = f"{one['p_holm']:.3f}" if "p_holm" in one else ""
        print(f"  {name:26} {one['dev']:6.1f} {one['test']:6.1f} {shown:>24} {p:>9} {one['cpu_seconds']:7.0f}")


if __name__ == "__main__":
    try:
        main()
    except UserError as problem:
        sys.exit(f"error: {problem}")
