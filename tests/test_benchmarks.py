"""The benchmark scripts whose --quick form takes seconds: they run, and write the keys their claims are read from."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.samples import ROOT

KEYS = {
    "packing": {"speedup", "max_embedding_diff", "gradient_relative_diff"},
    "gradcache_memory": {"growth_16_to_64"},
    "mistral_7b_gpu": {"mfu", "vs_padded"},
    "borda": {"ranks_differing"},
    "plan": {"memory_error", "token_error"},
}


@pytest.mark.parametrize("name", KEYS)
def test_a_quick_run_writes_its_figures(name: str, tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    command = [sys.executable, str(ROOT / "benchmarks" / f"{name}.py"), "--quick", "--json", str(out)]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    figures = json.loads(out.read_text())
    assert set(figures) >= KEYS[name]
    if name == "plan":  # counted, not timed: the formulas follow the training code, or this fails
        assert figures["memory_error"] < 0.15
        assert figures["token_error"] < 0.05


@pytest.mark.parametrize(("quantization", "least_cosine"), [("none", 0.99), ("4bit", 0.9)])
def test_a_rehearsal_of_the_full_size_path_survives_its_kill(
    tmp_path: Path, quantization: str, least_cosine: float
) -> None:
    out = tmp_path / "figures.json"
    command = [sys.executable, "-m", "benchmarks.rehearsal", "--quick", "--json", str(out)]
    command += ["--quantization", quantization]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=500)
    if "cannot download" in done.stderr:
        pytest.skip(f"the starter's text cannot be had here: {done.stderr.splitlines()[-1]}")
    assert done.returncode == 0, done.stderr[-2000:]
    figures = json.loads(out.read_text())
    assert figures["went_on_at_step"] >= figures["killed_at_step"] > 0
    assert figures["adapter_difference"] == 0
    # with 4bit the export has the whole base, training had its rounding
    assert figures["export_least_cosine"] > least_cosine
    assert figures["scores"] > 0


def test_the_gpu_script_needs_torch_transformers_and_peft_only() -> None:
    blocked = ["pydantic", "polars", "mlflow", "prefect", "dvc", "mteb", "sentence_transformers", "datasets", "bm25s"]
    script = str(ROOT / "benchmarks" / "mistral_7b_gpu.py")
    code = (
        "import runpy, sys\n"
        f"sys.modules.update(dict.fromkeys({blocked!r}))\n"  # None there makes an import fail
        f"sys.argv = [{script!r}, '--quick']\n"
        f"runpy.run_path({script!r}, run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    assert b"mfu" in done.stdout


def test_the_documented_hours_of_a_7b_model_are_those_the_benchmark_prints() -> None:
    from benchmarks.fewshot_evaluation import hours_of_7b

    assert hours_of_7b() in (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")
