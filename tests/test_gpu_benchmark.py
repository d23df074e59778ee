"""benchmarks/gpu.py on a CPU: its sections run on a bare machine, and a failed one does not end the run."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import gpu
from benchmarks.gpu_sections import whole_path
from benchmarks.gpu_sections.bench import Bench
from benchmarks.rehearsal import export_differences
from tests.samples import ROOT

NOT_CARRIED = ["mlflow", "prefect", "dvc", "mteb", "bm25s", "distributed", "dask"]


@pytest.mark.slow
def test_its_sections_run_on_a_bare_machine(tmp_path: Path) -> None:
    """Without what such a machine lacks. Equality is the one claim that a CPU can hold."""
    sections = ["environment", "equality", "mfu", "gradcache", "padded", "encode", "rerank", "dense", "search"]
    code = (
        "import sys\n"
        f"sys.modules.update(dict.fromkeys({NOT_CARRIED!r}))\n"  # None there makes an import fail
        "from benchmarks.gpu import main\n"
        f"sys.exit(main(['--tiny', '--out', {str(tmp_path)!r}, '--only', {','.join(sections)!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    figures = json.loads((tmp_path / "gpu.json").read_text())
    assert min(value for name, value in figures.items() if name.startswith("equality_cosine")) > 0.999
    assert figures["search_same_documents"] == 1
    assert figures["rerank_rank_correlation"] > 0.99
    assert {"gradcache_mfu", "packed_vs_padded", "training_flops_per_second", "matrix_product_ms"} <= set(figures)
    assert "gradcache_idle_share" in done.stdout  # asked, and shown as not measured


@pytest.mark.slow
def test_the_stage_that_it_kills_trains_and_exports(tmp_path: Path) -> None:
    whole_path.prepare_folder(Bench(True, tmp_path, torch.device("cpu")), tmp_path)
    whole_path.train_stage(tmp_path, tmp_path / "train")
    shutil.move(tmp_path / "train", tmp_path / "outputs" / "train")
    assert export_differences(tmp_path)["export_least_cosine"] > 0.999


def test_a_failed_section_does_not_end_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(bench: Bench) -> None:
        bench.note(flex_graphs=2)
        raise RuntimeError("no kernel image")

    def second(bench: Bench) -> None:
        bench.note(gradcache_mfu=0.5)

    monkeypatch.setattr(gpu, "SECTIONS", (broken, second))
    (tmp_path / "gpu.json").write_text('{"qlora_peak_gib": 20.5}')  # of an earlier run
    assert gpu.main(["--tiny", "--out", str(tmp_path)]) == 1
    figures = json.loads((tmp_path / "gpu.json").read_text())
    assert figures["failed_broken"] == "RuntimeError: no kernel image"
    assert (figures["gradcache_mfu"], figures["qlora_peak_gib"]) == (0.5, 20.5)
    shown = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines() if "=" in line[36:]}
    assert shown["gradcache_mfu"] == ["0.5", ">=", "0.45"]


def test_a_full_run_needs_a_gpu(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(SystemExit):
        gpu.main(["--out", str(tmp_path)])
    assert "torch sees no GPU" in capsys.readouterr().err
