"""The train stage as it runs: killed and resumed against one that was not, its export, and QLoRA's peak.

`python -m benchmarks.gpu_sections.whole_path FOLDER WORK` trains in FOLDER (params.yaml, outputs/) from the newest
checkpoint in WORK: the process that `resume` starts and kills.
"""

import importlib.util
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
import yaml

from benchmarks.gpu_sections.bench import ROOT, Bench
from benchmarks.rehearsal import adapter_difference, export_differences
from components.config import load_config
from components.data.random_model import write_random_mistral
from components.training.checkpoint import list_checkpoints
from tests.models import make_tiny_student
from tests.samples import small_parameters, write_training_tables

LAYERS = 4
VOCABULARY = 259  # of the byte tokenizer


def resume(bench: Bench) -> None:
    """kill -9 at the first checkpoint, go on, and compare the adapter and the export; 4 layers at full width."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        prepare_folder(bench, folder)
        killed, whole = folder / "killed", folder / "whole"
        child = _train(folder, killed)
        while child.poll() is None and not list_checkpoints(killed / "work" / "checkpoints"):
            time.sleep(0.02)
        child.send_signal(signal.SIGKILL)
        child.wait()
        saved = list_checkpoints(killed / "work" / "checkpoints")
        if not saved:
            raise RuntimeError("the training process ended before its first checkpoint; its traceback is above")
        bench.note(killed_at_step=int(saved[-1].name.removeprefix("step-")))
        for work in (killed, whole):
            begin = time.perf_counter()
            if _train(folder, work).wait():
                raise RuntimeError("a training process failed")
            bench.note(**{f"train_and_export_{work.name}_seconds": time.perf_counter() - begin})
        bench.note(resume_difference=adapter_difference(killed / "adapter", whole / "adapter"))
        shutil.move(whole, folder / "outputs" / "train")
        bench.note(**export_differences(folder))


def prepare_folder(bench: Bench, folder: Path) -> None:
    """FOLDER as a stage sees it: params.yaml, a random student, tables of two small tasks."""
    student = folder / "outputs" / "fetch" / "models" / "student"
    make_tiny_student(student, layers=LAYERS)
    shape = {"vocab_size": VOCABULARY, **bench.shape, "num_hidden_layers": LAYERS}
    write_random_mistral(student, shape, seed=1)
    write_training_tables(folder / "outputs", pairs=60)
    raw = small_parameters()
    raw["encoder"] |= {"device": bench.device.type, "precision": "bf16", "token_budget": 4096}
    raw["prompt"] |= {"template": "special"}
    raw["train"] |= {
        "precision": "bf16",
        "steps": 4,
        "checkpoint_every": 1,
        "batch_queries": 8,
        "learning_rate": 1e-4,
        "row_tokens": 2048,
        "gradcache": True,
        "lora": {"rank": 16, "alpha": 32},
    }
    (folder / "params.yaml").write_text(yaml.safe_dump(raw), encoding="utf-8")


def _train(folder: Path, work: Path) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-m", __name__, str(folder), str(work)], cwd=ROOT)


def train_stage(folder: Path, work: Path) -> None:
    """The train stage of FOLDER: adapter/ and export/ into WORK, its checkpoints below WORK/work."""
    from components.stage.context import StageContext
    from components.training.train import run

    config = load_config(folder / "params.yaml")
    (work / "work").mkdir(parents=True, exist_ok=True)
    context = StageContext(
        config, folder / "outputs", work, work / "work", folder / "cache", lambda metrics, step: None
    )
    run(context)


def qlora(bench: Bench) -> None:
    """Peak of the 24 GB recipe's row with the base in 4 bits, at full depth; needs bitsandbytes.

    The weights are written and quantized as they are read, as in the train stage.
    """
    from components.model.backbone import load_tokenizer
    from components.training.train import add_adapter

    if importlib.util.find_spec("bitsandbytes") is None:
        bench.note(qlora_left_out="bitsandbytes is not installed")
        return
    config = bench.recipe("mistral-7b-qlora-24gb")
    with tempfile.TemporaryDirectory() as place:
        student = make_tiny_student(Path(place) / "student", layers=bench.shape["num_hidden_layers"])
        begin = time.perf_counter()
        write_random_mistral(student, {"vocab_size": VOCABULARY, **bench.shape}, seed=1)
        bench.note(qlora_written_seconds=time.perf_counter() - begin)
        bench.free()
        model = add_adapter(student, load_tokenizer(student, config.prompt), config).train()
        bench.note(qlora_static_gib=torch.cuda.memory_allocated() / 2**30 if bench.cuda else 0.0)
        tokens = config.train.row_tokens if bench.cuda else 256
        row = bench.row(tokens, *bench.pick((100, 128), (20, 60)))
        row.ids.clamp_(max=VOCABULARY - 1)
        bench.reset_peak()

        def step() -> None:
            vectors = bench.forward(model, row)
            vectors.backward(torch.ones_like(vectors))
            model.zero_grad()

        seconds = bench.seconds(step, times=1)
        bench.note(qlora_peak_gib=bench.peak(), qlora_tokens_per_second=row.tokens / seconds)


if __name__ == "__main__":
    train_stage(Path(sys.argv[1]), Path(sys.argv[2]))
