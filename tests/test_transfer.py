"""The transfer table: valid parameters for each run, and figures from known scores."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import transfer
from benchmarks.quality_vs_peers import UNSEEN
from benchmarks.variant_runs import Result, changes_from
from components.config import read_parameters
from components.config.load import parse_config
from components.config.overrides import apply_overrides
from tests.samples import ROOT


def test_every_run_has_valid_parameters() -> None:
    base = apply_overrides(read_parameters(ROOT / "recipes" / "bench.yaml"), transfer.ALWAYS)
    variants = transfer.variants_of(transfer.starter_training(), transfer.OWN_STEPS)
    trained: dict[str, dict[str, int]] = {}
    for name, one in variants.items():
        changes: dict[str, Any] = {**one.changes, **(changes_from(Path("x")) if one.start else {})}
        config = parse_config(apply_overrides(base, changes), name)
        trained[name] = {task: params.train for task, params in config.prepare.tasks.items() if params.train}
    starter = read_parameters(ROOT / "recipes" / "starter.yaml")["prepare"]["tasks"]
    assert trained["trained"] == {name: task["train"] for name, task in starter.items() if "train" in task}
    assert trained["before"] == {name: size for name, size in trained["trained"].items() if name != "boolq"}
    assert trained["own_300"] == trained["own_300_from_before"] == {"boolq": 300}
    assert trained["own_3000"] == {"boolq": 3000}
    assert variants["own_300_from_before"].start == "before"


def result(level: float, seed: int = 1, tasks: tuple[str, ...] = (*UNSEEN, "boolq")) -> Result:
    noise = np.random.default_rng(0).normal(0, 0.02, 50)
    return Result("x", seed, 0.0, {task: (level + noise - noise.mean()).tolist() for task in tasks}, 60.0, 0.0)


def test_figures() -> None:
    trained = [result(0.4, seed) for seed in (1, 2)]
    figures = transfer.unseen_figures(trained, result(0.1), result(0.5))
    assert abs(figures["unseen_share"] - 0.75) < 1e-9
    assert figures["unseen_above_base"] == figures["unseen_tasks"] == len(UNSEEN)
    assert abs(figures["unseen"]["lee"]["gain"] - 30) < 1e-9
    assert 29 < figures["unseen"]["lee"]["gain_low"] < 30.01
    names = ("own_300", "own_300_from_before")
    results = {name: [result(level)] for name, level in zip(names, (0.1, 0.3), strict=True)}
    own = transfer.own_figures(results, {name: [result(0.2)] for name in names}, {300: 60})
    assert all(abs(one["before"] - 20) < 1e-9 for one in own["runs"])
    assert [(one["pairs"], one["init_adapter"], round(one["gain"], 6)) for one in own["runs"]] == [
        (300, False, -10.0),
        (300, True, 10.0),
    ]
    json.dumps({**figures, "own": own})
