"""An update against a full retrain: CPU seconds of training, and the scores on dev and held-out tasks.

    python -m benchmarks.update [RUN] [--new 0.1] [--quick] [--json FILE]

RUN is a checkout in which the pipeline has finished (`make run`: the starter recipe); its outputs are read, and nothing
is written there. A share of its training pairs is held back as new, and production is trained on the rest. Then

    production   stays as it is
    retrain      is trained on all pairs for the recipe's steps
    update       goes on from production's adapter on the new pairs and as many old ones, for the steps in proportion,
                 and is merged with it by slerp, as `foundry update` does

and all three are evaluated with the run's few-shot prompts. The teacher's stages are left out: both sides need the same
negatives, and vectors and scores of old texts come from the cache. Every training is a process of its own.
--quick makes a tiny run of random models first: it proves the path, its figures mean nothing.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import yaml

from components.config import load_config
from components.config.overrides import apply_overrides
from components.contracts.tables import QUERIES, TRIPLETS, read_table, write_table
from components.stage.context import StageContext
from components.stage.stages import stage_function
from components.statistics.bootstrap import interval, paired_bootstrap
from components.statistics.paired import differences, read_evaluation
from components.training.pair_keys import write_trained_on
from flows.update import ADAPTER, mined_pairs, size_update, update_parameters

ROOT = Path(__file__).resolve().parents[1]
MADE = ("fetch", "prepare", "retrieve", "score", "mine", "train", "select_shots")  # by --quick
REPLAY, WEIGHT = 1.0, 0.5
RunStage = Callable[[Path, str], float]


def main() -> None:
    """Train, evaluate, print, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, nargs="?", default=ROOT, help="a checkout with a finished run")
    parser.add_argument("--new", type=float, default=0.1, help="share of the pairs that is held back as new")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--stage", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.stage:
        run_here(given.run, given.stage)
        return
    with tempfile.TemporaryDirectory(prefix="update-") as name:
        folder = Path(name)
        run, run_stage = (make_tiny_run(folder / "run"), time_here) if given.quick else (given.run, time_apart)
        figures = compare(run.resolve(), folder, given.new, run_stage)
    print(f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores; {figures['pairs']:,.0f} training pairs")
    for key, value in figures.items():
        print(f"  {key:32} {value:.4g}")
    if given.json:
        given.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def compare(run: Path, folder: Path, share: float, run_stage: RunStage) -> dict[str, float]:
    """All three models in folders below `folder`; returns the figures."""
    triplets = read_table(run / "outputs" / "mine" / "triplets.parquet", TRIPLETS)
    new = held_back(run, triplets, share)
    production = make_variant(run, folder / "production", triplets.filter(~pl.Series(new)), {})
    cpu = {"production": run_stage(production, "train")}
    retrain = make_variant(run, folder / "retrain", triplets, {})
    cpu["retrain"] = run_stage(retrain, "train")
    changes, sampled = plan_update(run, production, triplets, int(new.sum()))
    update = make_variant(run, folder / "update", triplets, changes)
    give_adapter(run, update, production)
    cpu["update"] = run_stage(update, "train")
    for variant in (production, retrain, update):
        run_stage(variant, "evaluate")
    figures = {"pairs": float(train_rows(run, triplets).sum()), "new": float(new.sum()), "replayed": float(sampled)}
    figures |= {f"{name}_train_cpu_seconds": seconds for name, seconds in cpu.items()}
    figures["retrain_over_update_cpu"] = cpu["retrain"] / cpu["update"]
    figures |= {
        f"{variant.name}_{key}": value
        for variant in (production, retrain, update)
        for key, value in scores(variant).items()
    }
    return figures | gains(update, production, "update_over_production") | gains(update, retrain, "update_over_retrain")


def train_rows(run: Path, triplets: pl.DataFrame) -> np.ndarray:
    """bool by row of triplets: whether it is trained on."""
    queries = read_table(run / "outputs" / "prepare" / "queries.parquet", QUERIES, ("row", "split"))
    return (queries["split"].gather(triplets["query"]) == "train").to_numpy()


def held_back(run: Path, triplets: pl.DataFrame, share: float) -> np.ndarray:
    """bool by row of triplets: a share of the training pairs, drawn with the seed 0."""
    places = np.flatnonzero(train_rows(run, triplets))
    new = np.zeros(len(triplets), dtype=bool)
    new[np.random.default_rng(0).permutation(places)[: max(1, round(share * len(places)))]] = True
    return new


def plan_update(run: Path, production: Path, triplets: pl.DataFrame, new: int) -> tuple[dict[str, Any], int]:
    """The parameters of the update, as the flow has them, and the number of old pairs that it trains on."""
    recipe = load_config(run / "params.yaml").train
    sampled, steps = size_update(new, int(train_rows(run, triplets).sum()), REPLAY, recipe.steps)
    return update_parameters(production / "outputs" / "train" / "adapter", recipe, steps, REPLAY, WEIGHT), sampled


def make_variant(run: Path, folder: Path, triplets: pl.DataFrame, changes: dict[str, Any]) -> Path:
    """A folder with the run's outputs as links, its own triplets, and its own parameters."""
    outputs = folder / "outputs"
    (outputs / "mine").mkdir(parents=True)
    for name in ("fetch", "prepare", "retrieve", "select_shots"):
        (outputs / name).symlink_to(run / "outputs" / name)
    write_table(triplets, outputs / "mine" / "triplets.parquet", TRIPLETS)
    raw = apply_overrides(yaml.safe_load((run / "params.yaml").read_text(encoding="utf-8")), changes)
    (folder / "params.yaml").write_text(yaml.safe_dump(raw, sort_keys=False), encoding="utf-8")
    return folder


def give_adapter(run: Path, variant: Path, production: Path) -> None:
    """Put production's adapter, with the list of its pairs, beside the fetched models."""
    fetch = variant / "outputs" / "fetch"
    fetch.unlink()
    (fetch / "models" / ADAPTER).mkdir(parents=True)
    for model in (run / "outputs" / "fetch" / "models").iterdir():
        (fetch / "models" / model.name).symlink_to(model)
    for file in (production / "outputs" / "train" / "adapter").iterdir():
        (fetch / "models" / ADAPTER / file.name).symlink_to(file)
    write_trained_on(mined_pairs(production / "outputs", production / ".cache"), fetch / "models" / ADAPTER)


def run_here(folder: Path, stage: str) -> None:
    """Run a stage in this process, without MLflow. All folders beside this one share a cache of vectors."""
    config = load_config(folder / "params.yaml")
    out, work = folder / "outputs" / stage, folder / "work" / stage
    for place in (out, work):
        place.mkdir(parents=True, exist_ok=True)
    cache = folder.parent / "cache"
    context = StageContext(config, folder / "outputs", out, work, cache, lambda metrics, step: None)
    metrics = stage_function(stage)(context)
    (out / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")


def time_here(folder: Path, stage: str) -> float:
    """CPU seconds of a stage in this process."""
    begin = time.process_time()
    run_here(folder, stage)
    return time.process_time() - begin


def time_apart(folder: Path, stage: str) -> float:
    """CPU seconds of a stage in a process of its own and its workers. Exits when it fails."""
    command = [sys.executable, "-m", "benchmarks.update", str(folder), "--stage", stage]
    process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, cwd=ROOT)
    _, ended, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(ended)
    if process.returncode:
        sys.exit(f"error: {stage} in {folder} failed")
    return used.ru_utime + used.ru_stime


def scores(variant: Path) -> dict[str, float]:
    """Dev nDCG@10, where the recipe checks it, and the mean score of the trained model."""
    train, evaluate = (
        json.loads((variant / "outputs" / stage / "metrics.json").read_text(encoding="utf-8"))
        for stage in ("train", "evaluate")
    )
    dev = {"dev": train["train.dev_ndcg_at_10"]} if "train.dev_ndcg_at_10" in train else {}
    return {**dev, "steps": train["train.steps"], "test": evaluate["trained.mean"]}


def gains(one: Path, other: Path, name: str) -> dict[str, float]:
    """Difference of the mean test scores, with the 95 % interval of a paired bootstrap of the examples."""
    first, second = (read_evaluation(place / "outputs" / "evaluate", "trained") for place in (one, other))
    low, high = interval(paired_bootstrap(differences(first, second)).mean)
    return {name: first.mean_task - second.mean_task, f"{name}_low": low, f"{name}_high": high}


def make_tiny_run(folder: Path) -> Path:
    """A finished run of tiny random models on made-up pairs."""
    from components.data.local_files import update_list
    from tests.models import make_tiny_student
    from tests.teacher.conftest import make_dense_teacher
    from tests.test_end_to_end import parameters, write_sources

    folder.mkdir()
    write_sources(folder)
    make_tiny_student(folder / "student")
    make_dense_teacher(folder / "dense_teacher")
    (folder / "params.yaml").write_text(yaml.safe_dump(parameters(folder), sort_keys=False), encoding="utf-8")
    update_list(folder)
    for stage in MADE:
        run_here(folder, stage)
    return folder


if __name__ == "__main__":
    main()
