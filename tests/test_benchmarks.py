"""The benchmark scripts whose --quick form takes seconds: they run, and write the keys their claims are read from."""

import json
import os
import random
import runpy
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import kills
from components.tracking.versions import dvc_md5
from tests.samples import ROOT
from tests.warm import WarmStage


def figures_of(script: str, out: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Run a script here, as its command line does; returns the JSON it wrote."""
    file = str(ROOT / "benchmarks" / script)
    monkeypatch.setattr(sys, "argv", [file, "--quick", "--json", str(out)])
    try:
        runpy.run_path(file, run_name="__main__")
    except SystemExit as ended:
        if ended.code:
            raise
    return read(out)


def read(out: Path) -> dict[str, Any]:
    figures: dict[str, Any] = json.loads(out.read_text())
    return figures


@pytest.mark.slow
def test_packing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures = figures_of("packing.py", tmp_path / "figures.json", monkeypatch)
    assert set(figures) >= {"speedup", "max_embedding_diff", "gradient_relative_diff"}
    assert figures["query_rows_one_prefix_fill"] < 0.3
    assert figures["query_rows_several_fill"] > 0.9


def test_borda(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert figures_of("borda.py", tmp_path / "figures.json", monkeypatch)["ranks_differing"] == 0


@pytest.mark.slow
def test_the_plan_s_formulas_follow_the_training_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures = figures_of("plan.py", tmp_path / "figures.json", monkeypatch)  # counted, not timed
    assert figures["memory_error"] < 0.15
    assert figures["token_error"] < 0.05


@pytest.mark.slow
def test_training_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures = figures_of("training_batch.py", tmp_path / "figures.json", monkeypatch)
    parts = {"batch_seconds", "ids_seconds", "pack_seconds"}
    assert set(figures) == {*parts, "step_seconds", "all_ids_seconds", "peak_growth_gib"}


@pytest.mark.slow
def test_update_against_retrain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures = figures_of("update.py", tmp_path / "figures.json", monkeypatch)
    assert figures["new"] == figures["replayed"] == round(0.1 * figures["pairs"])
    assert figures["update_steps"] < figures["retrain_steps"] == figures["production_steps"]
    assert set(figures) >= {"retrain_over_update_cpu", "update_test", "retrain_test", "production_test"}
    assert figures["update_over_production_low"] <= figures["update_over_production"]


@pytest.mark.slow
def test_score_at_scale(tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    sizes = ["--pairs", "5000", "20000", "--documents", "2000"]
    command = [sys.executable, "-m", "benchmarks.scale_score", *sizes, "--json", str(out), "--folder", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    figures = read(out)
    assert set(figures) >= {"score_peak_gib", "score_pairs_per_second"}
    assert figures["score_growth"] < 0.3


@pytest.mark.slow
@pytest.mark.usefixtures("warm_start")
def test_gradcache_memory(tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    command = [sys.executable, str(ROOT / "benchmarks" / "gradcache_memory.py"), "--quick", "--json", str(out)]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    assert "growth_8_to_32" in read(out)


@pytest.mark.slow
def test_a_rehearsal_of_the_full_size_path_survives_its_kill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks import rehearsal

    def run_warm(folder: Path, stage: str) -> tuple[float, float]:
        if WarmStage(folder, stage).wait():
            error = (folder / "error.txt").read_text(encoding="utf-8")
            if "cannot download" in error:
                pytest.skip(f"the starter's text cannot be had here: {error}")
            pytest.fail(f"{stage}: {error}")
        return 0.0, 0.0

    out = tmp_path / "figures.json"
    monkeypatch.setattr(sys, "argv", ["", "--quick", "--json", str(out), "--quantization", "4bit"])
    monkeypatch.setattr(rehearsal, "start", WarmStage)
    monkeypatch.setattr(rehearsal, "run_stage", run_warm)
    rehearsal.main()
    figures = read(out)
    assert figures["went_on_at_step"] >= figures["killed_at_step"] > 0
    assert figures["adapter_difference"] == 0
    assert figures["export_least_cosine"] > 0.9  # the export has the whole base, training had its rounding
    assert figures["scores"] > 0


def test_the_documented_hours_of_a_7b_model_are_those_the_benchmark_prints() -> None:
    from benchmarks.fewshot_evaluation import hours_of_7b

    assert hours_of_7b() in (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_what_is_served_is_what_is_evaluated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures = figures_of("served.py", tmp_path / "figures.json", monkeypatch)
    differences = {name: value for name, value in figures.items() if name.endswith((", queries", ", documents"))}
    assert len(differences) >= 11  # more where the clients of other packages are installed
    assert max(differences.values()) < 1e-5
    assert figures["cut"] > 10


@pytest.mark.slow
@pytest.mark.parametrize("leaves", [False, True])
def test_kills_counts_what_is_left_behind(leaves: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, out = tmp_path / "chain", "outputs/a"
    (root / "outputs" / "a").mkdir(parents=True)
    with sqlite3.connect(root / "mlflow.db") as store:
        store.execute("CREATE TABLE runs (status TEXT)")
        store.execute("INSERT INTO runs VALUES (?)", ["RUNNING" if leaves else "KILLED"])
    child = "subprocess.Popen(['sleep', '60']); " if leaves else ""
    work = f"import subprocess, time; {child}time.sleep(0.6); open('{out}/x', 'w').write('1')"
    monkeypatch.setattr(kills, "COMMANDS", {"dvc": [sys.executable, "-c", work]})
    monkeypatch.setattr(kills, "VICTIMS", ("command",))
    monkeypatch.setattr(kills, "PATIENCE_SECONDS", 0.1)
    chain = kills.Chain("dvc")
    try:
        kills.run_chain(root, chain, 2, random.Random(0), 0.3)
        kills.examine(root, chain, {"a": dvc_md5(root / out), **({"b": "0"} if leaves else {})})
    finally:
        kills.end_all(root)
    assert len(chain.kills) == 2
    assert chain.is_clean() is not leaves
    figures = kills.report([chain])
    found = [figures[key] for key in ("mlflow_runs_running", "chains_with_other_bytes", "reruns_that_failed")]
    assert found == ([1, 1, 0] if leaves else [0, 0, 0])
    assert bool(figures["orphans"]) is leaves
