"""Update the production model with what is new, instead of training it again (BOOM, arXiv 2602.05787).

    foundry update

A light adapter continues from production's: on the pairs that are new since production was trained and a sample of the
old ones (`train.replay`). Its update is merged with production's (`train.merge`, slerp), and the pipeline evaluates and
registers the result: a candidate like any other, for the gate. If nothing is new, nothing runs.
"""

import math
import os
import shutil
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from prefect import flow, get_run_logger

from components.base.errors import UserError
from components.config import TrainParams, load_config
from components.contracts.tables import QRELS, QUERIES, TRIPLETS, read_table
from components.contracts.texts import Texts
from components.tracking.registry import DEFAULT_NAME, PRODUCTION, find_version, refuse_ungated, registry_client
from components.tracking.snapshot import resolve_commit
from components.training.pair_keys import pair_keys, write_trained_on
from flows import isolation
from flows.dag import DVC, run_dvc
from flows.pipeline import pipeline
from flows.processes import allow_running, run_streamed
from flows.record import stage_environment

ADAPTER = "production_adapter"
DAY_SECONDS = 24 * 3600.0


@flow(name="update", flow_run_name="{name}")
def update(name: str = DEFAULT_NAME, steps: int = 0, replay: float = 1.0, weight: float = 0.5, root: str = ".") -> Any:
    """Train what is new into a new candidate; returns the outcome per stage, empty if nothing is new.

    Args:
        steps: of training; 0: the recipe's, in proportion to the pairs that are trained on.
        replay: old pairs trained on for each new one.
        weight: share of the new adapter in the merged one.

    Raises:
        UserError: nothing is in production, or its data is not in DVC's cache.
    """
    place, log = Path(root).resolve(), get_run_logger()
    allow_running()
    version = find_version(registry_client(place), name, PRODUCTION)
    refuse_ungated(version)
    commit = resolve_commit(place, version.tags.get("git.commit", ""))
    with isolation.isolated_worktree(place, "HEAD", f"update-{uuid.uuid4().hex[:8]}") as own:
        isolation.begin_from_newest(place, own)
        command, environment = [*DVC, "repro", "prepare"], {**os.environ, **stage_environment(None, place)}
        if run_streamed(command, own, environment, log.info, DAY_SECONDS):
            raise UserError("the stages up to prepare failed; see the log")
        before = own / ".cache" / "work" / "before"
        before.mkdir(parents=True, exist_ok=True)
        for stage in ("prepare", "mine"):
            run_dvc(place, "get", str(place), f"outputs/{stage}", "--rev", commit, "--out", str(before / stage))
        cache = place / ".cache"
        old = np.union1d(judged_pairs(before / "prepare", cache), mined_pairs(before, cache))
        now = judged_pairs(own / "outputs" / "prepare", cache)
        recipe = load_config(own / "params.yaml").train
    new = len(np.setdiff1d(now, old, assume_unique=True))
    if not new:
        log.info(f"nothing is new since {name} version {version.version}: {len(now):,} pairs, all known")
        return {}
    sampled, in_proportion = size_update(new, len(now), replay, recipe.steps)
    log.info(f"{new:,} pairs are new since {name} version {version.version}; {sampled:,} old ones are trained on too")
    folder = keep_adapter(place, name, str(version.version), commit, old)
    parameters = update_parameters(folder, recipe, steps or in_proportion, replay, weight)
    results: Any = pipeline(root=str(place), isolated=True, parameters=parameters)
    return results


def size_update(new: int, number: int, replay: float, steps: int) -> tuple[int, int]:
    """(old pairs that are trained on too, training steps) of an update with `new` of `number` pairs.

    steps: of the recipe, for all pairs.

    >>> size_update(100, 1000, 1.0, 150)
    (100, 30)
    """
    sampled = min(round(replay * new), number - new)
    return sampled, math.ceil((new + sampled) / number * steps)


def judged_pairs(prepared: Path, cache: Path) -> np.ndarray:
    """The keys of the training pairs in the tables of a prepare stage, uint64, sorted and distinct."""
    pairs = read_table(prepared / "qrels.parquet", QRELS).filter(pl.col("relevance") > 0)
    return _keys(prepared, pairs.select("query", "document"), cache)


def mined_pairs(outputs: Path, cache: Path) -> np.ndarray:
    """The keys of the pairs that were trained on: mine leaves some out, and adds positives that it relabelled."""
    triplets = read_table(outputs / "mine" / "triplets.parquet", TRIPLETS, ["query", "positive"])
    return _keys(outputs / "prepare", triplets.rename({"positive": "document"}), cache)


def _keys(prepared: Path, pairs: pl.DataFrame, cache: Path) -> np.ndarray:
    """No text is in memory: `Texts` keeps their digests beside them on disk."""
    queries = read_table(prepared / "queries.parquet", QUERIES, ["row", "task", "split"])
    asked, found = (Texts.of_table(prepared / f"{name}.parquet", cache).hashes() for name in ("queries", "corpus"))
    keys = [np.empty(0, np.uint64)]
    for (task,), own in queries.filter(pl.col("split") == "train").group_by("task"):
        some = pairs.join(own.select(query="row"), on="query", how="semi")
        keys.append(pair_keys(str(task), asked[some["query"].to_numpy()], found[some["document"].to_numpy()]))
    return np.unique(np.concatenate(keys))


def keep_adapter(root: Path, name: str, version: str, commit: str, pairs: np.ndarray) -> Path:
    """Production's adapter below .cache/updates, with the list of what it was trained on; relative to `root`."""
    folder = Path(".cache") / "updates" / f"{name}-{version}"
    shutil.rmtree(root / folder, ignore_errors=True)
    (root / folder).parent.mkdir(parents=True, exist_ok=True)
    run_dvc(root, "get", str(root), "outputs/train/adapter", "--rev", commit, "--out", str(root / folder))
    write_trained_on(pairs, root / folder)
    return folder


def update_parameters(folder: Path, recipe: TrainParams, steps: int, replay: float, weight: float) -> dict[str, Any]:
    """The changes to the recipe that make a run an update. Its warmup is shorter in proportion to its steps."""
    origin = {"kind": "local", "path": folder.as_posix(), "licence": "own"}
    return {
        f"fetch.models.{ADAPTER}": {"origin": origin, "format": "adapter"},
        "train.init_adapter": ADAPTER,
        "train.replay": replay,
        "train.merge": {"of": "init_adapter", "method": "slerp", "weight": weight},
        "train.steps": steps,
        "train.warmup_steps": recipe.warmup_steps * steps // recipe.steps,
    }
